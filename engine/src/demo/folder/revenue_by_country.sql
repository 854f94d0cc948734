-- Each order is added to the row of its country.
CREATE MATERIALIZED VIEW revenue_by_country AS
SELECT country, count(*) AS orders, sum(total) AS revenue, max(placed_at) AS last_order
FROM orders
GROUP BY country;
