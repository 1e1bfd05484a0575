#!/usr/bin/env bash
# @aws-lambda-powertools/batch 2.35.0 (with parser 2.35.0): with an inner schema, each
# insert and each removal of a DynamoDB stream counts as failed.
#
# A stream of a table with NEW_AND_OLD_IMAGES brings an order that is inserted, then
# changed, then removed. An insert has no OldImage and a removal no NewImage: so says
# DynamoDB's API reference (StreamRecord), and the parser's own schema of a record
# has both as optional. The processor is set up as the documentation shows it:
# innerSchema (zod) and transformer "unmarshall". One would expect three records in
# the handler. Seen: only the change. The other two are batch item failures, so Lambda
# brings them again and again and holds up their shard. A stream of NEW_IMAGE loses its
# changes as well. An innerSchema that is optional() is no help; without the transformer,
# DynamoDBMarshalled(order).optional() is.
#
# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_StreamRecord.html
# Needs Node 20 or newer, and npm. Ends with status 0 if that is still so.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
npm install --silent --no-audit --no-fund --prefix "$dir" @aws-lambda-powertools/batch@2.35.0 @aws-lambda-powertools/parser@2.35.0 zod@4.6.7 >/dev/null
cat >stream.mjs <<'JS'
import { BatchProcessor, EventType, processPartialResponse } from '@aws-lambda-powertools/batch';
import { parser } from '@aws-lambda-powertools/batch/parser';
import { DynamoDBMarshalled } from '@aws-lambda-powertools/parser/helpers/dynamodb';
import { DynamoDBStreamRecord } from '@aws-lambda-powertools/parser/schemas/dynamodb';
import { z } from 'zod';

const image = (status) => ({ id: { S: 'o-1' }, status: { S: status } });
const record = (n, eventName, view, before, after) => ({
  eventID: `e-${n}`, eventName, eventVersion: '1.1', eventSource: 'aws:dynamodb', awsRegion: 'us-east-1',
  eventSourceARN: 'arn:aws:dynamodb:us-east-1:123456789012:table/orders/stream/2026-01-01T00:00:00.000',
  dynamodb: {
    ApproximateCreationDateTime: 1790000000, Keys: { id: { S: 'o-1' } },
    ...(before && { OldImage: image(before) }), ...(after && { NewImage: image(after) }),
    SequenceNumber: `${100 + n}`, SizeBytes: 30, StreamViewType: view,
  },
});
const both = [
  record(1, 'INSERT', 'NEW_AND_OLD_IMAGES', undefined, 'placed'),
  record(2, 'MODIFY', 'NEW_AND_OLD_IMAGES', 'placed', 'paid'),
  record(3, 'REMOVE', 'NEW_AND_OLD_IMAGES', 'paid', undefined),
];
const news = [
  record(1, 'INSERT', 'NEW_IMAGE', undefined, 'placed'),
  record(2, 'MODIFY', 'NEW_IMAGE', undefined, 'paid'),
];
const order = z.object({ id: z.string(), status: z.string() });
const quiet = { debug() {}, warn() {}, error() {} };

async function run(name, config, records) {
  const handled = [];
  const processor = new BatchProcessor(EventType.DynamoDBStreams, { parser, logger: quiet, ...config });
  const answer = await processPartialResponse({ Records: records }, async (r) => { handled.push(r.eventName); },
    processor, { throwOnFullBatchFailure: false });
  const failed = answer.batchItemFailures.map(({ itemIdentifier }) => records.find((r) => r.dynamodb.SequenceNumber === itemIdentifier).eventName);
  console.log(`${name}: handled ${handled.join(', ') || 'none'}; failed ${failed.join(', ') || 'none'}`);
}

await run('the parser\'s own record schema', { schema: DynamoDBStreamRecord }, both);
await run('inner schema, both images', { innerSchema: order, transformer: 'unmarshall' }, both);
await run('optional inner schema, both images', { innerSchema: order.optional(), transformer: 'unmarshall' }, both);
await run('optional inner schema of marshalled images', { innerSchema: DynamoDBMarshalled(order).optional() }, both);
await run('inner schema, new image only', { innerSchema: order, transformer: 'unmarshall' }, news);
JS
node stream.mjs | tee seen
diff seen - <<'WANT' && echo "still so" || { echo "no longer so"; exit 1; }
the parser's own record schema: handled INSERT, MODIFY, REMOVE; failed none
inner schema, both images: handled MODIFY; failed INSERT, REMOVE
optional inner schema, both images: handled MODIFY; failed INSERT, REMOVE
optional inner schema of marshalled images: handled INSERT, MODIFY, REMOVE; failed none
inner schema, new image only: handled none; failed INSERT, MODIFY
WANT
