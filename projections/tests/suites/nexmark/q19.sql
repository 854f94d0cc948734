-- Ties in price are broken by the rest of the bid.
SELECT * FROM (
  SELECT *, row_number() OVER (PARTITION BY auction ORDER BY price DESC, date_time, bidder, url, extra) AS rank_number FROM bid
) AS ranked
WHERE rank_number <= 10;
