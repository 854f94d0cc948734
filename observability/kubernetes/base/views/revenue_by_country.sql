CREATE MATERIALIZED VIEW revenue_by_country AS
SELECT country, count(*) AS orders, sum(total) AS revenue FROM orders GROUP BY country;
