/** The sink `redis`: a stream. */
import * as z from 'zod';
import { isRedisAddress } from '../../../store/redis/address.ts';
import { readAccess } from '../../../store/redis/credentials.ts';
import { amount, common, HOUR_MS, MAX_HOURS, remote, sinkKind } from './sink-kind.ts';

export const redisSink = sinkKind({
  schema: z.strictObject({
    type: z.literal('redis'),
    url: z.string().min(1).optional().meta({ description: 'redis://…; absent: that of `store`' }),
    key: z.string().min(1).default('postern:audit').meta({ description: 'The stream' }),
    ...common,
    ...remote,
    max_length: amount(0, 1_000_000_000_000, 'Entries that stay, about; 0: all'),
    max_age_hours: amount(0, MAX_HOURS, 'Age of entries that stay, about; 0: all'),
    wait_replicas: amount(0, 1_000, 'Replicas that must have a record before it is kept'),
  }),
  files: ['spool_file'],
  owns: 'spool_file',
  problem: ({ url }, { store }) =>
    url === undefined && !isRedisAddress(store)
      ? ['url', 'is missing, and `store` is not a Redis: set it']
      : undefined,
  async open(sink, { writer, store, redis, onError }) {
    const { openRedisSink } = await import('../redis.ts');
    return openRedisSink({
      ...readAccess(sink.url, store, redis),
      key: sink.key,
      maxLength: sink.max_length,
      maxAgeMs: sink.max_age_hours * HOUR_MS,
      waitReplicas: sink.wait_replicas,
      maxRecordBytes: sink.max_record_bytes,
      timeoutMs: sink.timeout_ms,
      writer,
      onProblem: (problem) => onError(new Error(problem)),
    });
  },
});
