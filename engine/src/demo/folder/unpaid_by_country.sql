-- A view may read another. Both are committed together.
CREATE MATERIALIZED VIEW unpaid_by_country AS
SELECT country, count(*) AS orders, sum(total) AS total, min(placed_at) AS oldest
FROM unpaid_orders
GROUP BY country;
