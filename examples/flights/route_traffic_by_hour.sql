-- Departures of each route by the local hour of day.
CREATE MATERIALIZED VIEW route_traffic_by_hour AS
SELECT data.origin AS origin, data.dest AS dest, data.scheduled_hour AS hour, count(*) AS departures
FROM flights
WHERE event_type = 'flight.departed'
GROUP BY data.origin, data.dest, data.scheduled_hour;
