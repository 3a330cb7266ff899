/** What cached keys take is counted as it is now, not as it was when they were read. */
import { afterEach, expect, it } from 'vitest';
import { sizeOfKey } from '../../src/facts/size.ts';
import { compileKey } from '../../src/engine/abac.ts';
import type { PolicySetRecord } from '../../src/engine/records.ts';
import { ask, settled } from '../support/asking.ts';
import { failing, openMemoryStore } from '../support/memory-store.ts';
import { key, openRoom, put, user, type TestRoom } from '../support/records.ts';

let room: TestRoom | undefined;
afterEach(() => room?.close());

const setOf = (rules: number, mode: PolicySetRecord['mode'] = 'enforce') => {
  const value: PolicySetRecord = {
    name: 's',
    mode,
    version: 1,
    rules: Array.from({ length: rules }, (_, at) => ({
      id: `rule-${at}`,
      effect: 'allow',
      actions: [`doc:read`, `thing-${at}:read`],
      attributes: [['team', ['a', 'b']]],
    })),
  };
  return { kind: 'policy_set' as const, id: 's', value };
};

it('keys that are compiled again with larger sets count for more, and push others out', async () => {
  const memory = openMemoryStore();
  const store = failing(memory);
  room = openRoom(store, { cache: { bytes: 1_000_000 } });
  const ids = Array.from({ length: 100 }, (_, at) => `k${at}`);
  await put(memory, 't', setOf(1), ...ids.map((id) => key(id, { policySets: ['s'] })));
  const askAll = async (): Promise<void> => {
    for (const id of ids) await ask(room as TestRoom, { key: id });
  };
  await askAll();
  const small = room.stats();
  expect(small.keys).toBe(100);
  await put(memory, 't', setOf(100), user('x'));
  store.hint();
  await settled();
  await askAll();
  const large = room.stats();
  expect(large.bytes).toBeGreaterThan(small.bytes * 5);
  expect(large.bytes).toBeLessThanOrEqual(1_000_000);
  expect(large.keys).toBeLessThan(20);
  const one = sizeOfKey({
    record: key('k1', { policySets: ['s'] }).value,
    compiled: compileKey(key('k1', { policySets: ['s'] }).value, [setOf(100).value]),
  });
  expect(large.bytes / large.keys).toBeCloseTo(one, -2);
});

it('rules that count in no mode take no room; those of a shadow take it a second time', () => {
  const { value: record } = key('k', { policySets: ['s'] });
  const sizeWith = (mode: PolicySetRecord['mode']): number =>
    sizeOfKey({ record, compiled: compileKey(record, [setOf(50, mode).value]) });
  const none = sizeOfKey({ record, compiled: undefined });
  expect(sizeWith('off')).toBe(none);
  expect(sizeWith('enforce')).toBeGreaterThan(none + 20_000);
  expect(sizeWith('report_only')).toBe(sizeWith('enforce'));
});
