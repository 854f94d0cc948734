-- Punctuality with the airlines' names: a view joined with reference data.
CREATE MATERIALIZED VIEW carrier_names AS
SELECT p.carrier, a.data.name AS name, p.arrivals, p.on_time_percent
FROM carrier_punctuality p
LEFT JOIN airlines a ON a.data.carrier = p.carrier;
