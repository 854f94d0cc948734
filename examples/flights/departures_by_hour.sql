-- Departures and their delay by airport and hour, in UTC.
CREATE MATERIALIZED VIEW departures_by_hour AS
SELECT data.origin AS origin,
       date_trunc('hour', data.scheduled_departure) AS hour,
       count(*) AS departures,
       sum(data.delay_minutes) AS delay_minutes
FROM flights
WHERE event_type = 'flight.departed'
GROUP BY data.origin, date_trunc('hour', data.scheduled_departure);
