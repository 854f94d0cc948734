SELECT b.bidder, count(*) AS bid_count, b.window_start AS starttime, b.window_end AS endtime
FROM SESSION(bid, date_time, INTERVAL '10' SECOND PARTITION BY bidder) AS b
GROUP BY b.bidder, b.window_start, b.window_end;
