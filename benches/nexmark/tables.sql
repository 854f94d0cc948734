-- Flink's tables over the folders of JSON lines. run_flink.py fills in {folder} and {watermark}; {watermark} is empty for queries that do not
-- need event time.
CREATE TABLE person (id BIGINT, name STRING, email_address STRING, credit_card STRING, city STRING, state STRING,
  date_time TIMESTAMP(3), extra STRING{watermark})
WITH ('connector' = 'filesystem', 'path' = '{folder}/person', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
CREATE TABLE auction (id BIGINT, item_name STRING, description STRING, initial_bid BIGINT, reserve BIGINT,
  date_time TIMESTAMP(3), expires TIMESTAMP(3), seller BIGINT, category BIGINT, extra STRING{watermark})
WITH ('connector' = 'filesystem', 'path' = '{folder}/auction', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
CREATE TABLE bid (auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, date_time TIMESTAMP(3),
  extra STRING{watermark})
WITH ('connector' = 'filesystem', 'path' = '{folder}/bid', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
CREATE TABLE side_input (code BIGINT, `value` STRING)
WITH ('connector' = 'filesystem', 'path' = '{folder}/side_input', 'format' = 'json');
