-- Delay by the weather at departure: a join of two views.
CREATE MATERIALIZED VIEW delay_against_weather AS
SELECT w.precipitation_inches > 0 AS rain,
       w.visibility_miles < 2 AS fog,
       sum(d.departures) AS departures,
       sum(d.delay_minutes) * 1.0e0 / sum(d.departures) AS mean_delay_minutes
FROM departures_by_hour d
JOIN weather_by_hour w ON w.origin = d.origin AND w.hour = d.hour
GROUP BY w.precipitation_inches > 0, w.visibility_miles < 2;
