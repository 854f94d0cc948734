-- The three busiest routes of each hour: a view over a view.
CREATE MATERIALIZED VIEW busiest_routes_by_hour AS
SELECT hour, place, origin, dest, departures
FROM (
  SELECT hour, origin, dest, departures,
         row_number() OVER (PARTITION BY hour ORDER BY departures DESC, origin, dest) AS place
  FROM route_traffic_by_hour
) AS ranked
WHERE place <= 3;
