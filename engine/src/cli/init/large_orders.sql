-- Rows are only ever added to this view.
CREATE MATERIALIZED VIEW large_orders
WITH (commit_interval = '200ms')
AS SELECT _sequence AS event, order_id, customer_id, country, total
FROM orders
WHERE total >= 100;
