-- A minute that begins every 20 seconds. An order that arrives late changes the windows that it belongs to.
CREATE MATERIALIZED VIEW revenue_by_minute AS
SELECT window_start, window_end, count(*) AS orders, sum(total) AS revenue
FROM HOP(orders, placed_at, INTERVAL '20 seconds', INTERVAL '1 minute')
GROUP BY window_start, window_end;
