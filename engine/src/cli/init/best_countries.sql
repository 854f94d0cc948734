-- A view can read another view. Both are committed together.
CREATE MATERIALIZED VIEW best_countries AS
SELECT country, revenue
FROM revenue_by_country
WHERE revenue > 250;
