-- The weather observed at each airport in each hour.
CREATE MATERIALIZED VIEW weather_by_hour AS
SELECT data.origin AS origin, data.hour AS hour,
       max(data.precipitation_inches) AS precipitation_inches,
       min(data.visibility_miles) AS visibility_miles,
       max(data.wind_speed_mph) AS wind_speed_mph
FROM weather
GROUP BY data.origin, data.hour;
