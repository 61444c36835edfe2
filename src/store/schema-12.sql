-- A debt that an operator wrote off stays listed until the host is proven to be in rotation.
ALTER TABLE debt ADD COLUMN off_seq INTEGER;
-- Earlier builds took it for paid. It was paid by the next change that put the host back.
UPDATE debt SET off_seq = paid_seq, paid_seq = (
    SELECT min(back.seq) FROM event back
    WHERE back.seq > debt.paid_seq AND back.body LIKE '{"type":"enable-ended"%'
        AND json_extract(back.body, '$.balancer') = debt.balancer
        AND json_extract(back.body, '$.change.is') = 'done'
        AND EXISTS (SELECT 1 FROM json_each(back.body, '$.hosts') WHERE value = debt.host)
        AND NOT EXISTS (SELECT 1 FROM json_each(back.body, '$.change.foreign') WHERE value = debt.host))
WHERE paid_seq IN (
    SELECT seq FROM event
    WHERE body LIKE '{"type":"debt-settled"%' AND json_extract(body, '$.in_rotation') = 0);
