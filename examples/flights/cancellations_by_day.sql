-- Flights scheduled and cancelled, by day.
CREATE MATERIALIZED VIEW cancellations_by_day AS
SELECT data.date AS day,
       count(*) FILTER (WHERE event_type = 'flight.scheduled') AS scheduled,
       count(*) FILTER (WHERE event_type = 'flight.cancelled') AS cancelled
FROM flights
GROUP BY data.date;
