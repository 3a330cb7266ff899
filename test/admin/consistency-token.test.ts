/** Every answer of a write names its revision and history (CONS-1). */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { decodeToken } from '../../src/store/format/token.ts';
import { manager, TENANT } from '../support/admin.ts';
import { openMemoryStore } from '../support/memory-store.ts';
import { PACKAGE_ROOT } from '../support/package-root.ts';

const once = (idempotency_key: string, dry_run = false): object => ({
  options: { idempotency_key, dry_run, expected_revision: 0, request_id: '' },
});

it('a write, the same again under its key, one that changes nothing, and a dry run', async () => {
  const store = openMemoryStore({ feedLength: 5 });
  const operator = manager(store);
  const as = (call: string, request: object): Promise<Record<string, unknown>> =>
    operator.as('operator', call, request);
  const token = async (call: string, request: object): Promise<unknown> =>
    (await as(call, request))['consistency_token'];
  const headOf = async (): Promise<unknown> => (await store.get(TENANT, [])).head;
  await as('CreateTenant', { owner: 'root' });
  const alice = { user: { id: 'alice' } };
  const first = String(await token('CreateUser', { ...alice, ...once('k') }));
  expect(decodeToken(TENANT, first)).toEqual(await headOf());
  expect(decodeToken('another', first)).toBeUndefined();
  await as('CreateUser', { user: { id: 'bob' } });
  // The token of the commit that did it, not of what came after.
  expect(await token('CreateUser', { ...alice, ...once('k') })).toBe(first);
  const same = { id: 'bob', superuser: false };
  expect(decodeToken(TENANT, String(await token('UpdateUser', same)))).toEqual(await headOf());
  const dry = { user: { id: 'carol' }, ...once('', true) };
  expect(decodeToken(TENANT, String(await token('CreateUser', dry)))).toEqual(await headOf());
  for (const id of ['c', 'd', 'e', 'f', 'g']) await as('CreateUser', { user: { id } });
  // The feed no longer has it: nothing is made up.
  expect(await token('CreateUser', { ...alice, ...once('k') })).toBe('');
});

it('has a field in every answer that tells what a write did', () => {
  const proto = readFileSync(join(PACKAGE_ROOT, 'proto/postern/v1/admin.proto'), 'utf8');
  const messages = [...proto.matchAll(/^message (\w+) \{(.*?)^\}/gms)];
  const writes = messages.filter(([, , body]) => /^ {2}WriteResult result = /m.test(body ?? ''));
  expect(writes.length).toBeGreaterThan(20);
  const without = writes.filter(([, , body]) => !/string consistency_token = 15;/.test(body ?? ''));
  expect(without.map(([, name]) => name)).toEqual([]);
});
