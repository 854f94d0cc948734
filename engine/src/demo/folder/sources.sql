-- Producers send some events twice: the option deduplicate counts the first.
CREATE EXTERNAL TABLE orders (
  order_id    BIGINT NOT NULL,
  customer_id BIGINT,
  country     VARCHAR,
  product     VARCHAR,
  quantity    INT,
  total       DECIMAL(12, 2),
  placed_at   TIMESTAMP
)
STORED AS orders
OPTIONS (deduplicate 'order_id');

CREATE EXTERNAL TABLE payments (
  payment_id BIGINT NOT NULL,
  order_id   BIGINT,
  method     VARCHAR,
  amount     DECIMAL(12, 2),
  paid_at    TIMESTAMP
)
STORED AS payments
OPTIONS (deduplicate 'payment_id');

CREATE EXTERNAL TABLE shipments (
  order_id   BIGINT,
  carrier    VARCHAR,
  shipped_at TIMESTAMP
)
STORED AS shipments;
