-- A join of two streams: how much each carrier takes, and how many parcels left late.
CREATE MATERIALIZED VIEW parcels_by_carrier AS
SELECT shipments.carrier, count(*) AS parcels, sum(orders.total) AS worth,
       count(*) FILTER (WHERE shipments.shipped_at > orders.placed_at + INTERVAL '30 seconds') AS late_parcels
FROM shipments
JOIN orders ON orders.order_id = shipments.order_id
GROUP BY shipments.carrier;
