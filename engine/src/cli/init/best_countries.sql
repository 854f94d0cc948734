-- A view can read a view; both are committed together.
CREATE MATERIALIZED VIEW best_countries AS
SELECT country, revenue
FROM revenue_by_country
WHERE revenue > 250;
