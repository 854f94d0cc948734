-- The three products of each country that earn the most.
CREATE MATERIALIZED VIEW top_products AS
SELECT country, place, product, revenue
FROM (
  SELECT country, product, sum(total) AS revenue,
         row_number() OVER (PARTITION BY country ORDER BY sum(total) DESC, product) AS place
  FROM orders
  GROUP BY country, product
)
WHERE place <= 3;
