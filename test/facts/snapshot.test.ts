/** A snapshot gives back every kind of record that decisions read, and serves while the store is away (CONS-3). */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { readSnapshot, writeSnapshot } from '../../src/facts/snapshot.ts';
import { ask, type Question } from '../support/asking.ts';
import {
  failing,
  openMemoryStore,
  type Failure,
  type FailingStore,
} from '../support/memory-store.ts';
import { key, openRoom, policySet, put, role, user, type TestRoom } from '../support/records.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const STORE = 'test:store';

/** What is asked before and after, and the answer: one question for each kind of record. */
const QUESTIONS: readonly (readonly [what: string, question: Question, answer: string])[] = [
  ['a user by its role', { user: 'alice' }, 'ALLOWED@1'],
  ['a suspended user', { user: 'sue' }, 'SUBJECT_INACTIVE@1'],
  ['a key by its base role', { key: 'open' }, 'ALLOWED@1'],
  ['a key by its policy set', { key: 'ruled' }, 'ALLOWED@1'],
  ['a key whose set denies', { key: 'barred' }, 'ACTION_DENIED@1'],
  ['a revoked key', { key: 'ended' }, 'KEY_INVALID@1'],
  ['a key that acts for a user', { key: 'hers', user: 'alice' }, 'ALLOWED@1'],
  ['a key that acts for another', { key: 'hers', user: 'bob' }, 'KEY_INVALID@1'],
  ['a superuser of another tenant', { tenant: 'u', user: 'root' }, 'ALLOWED@1'],
  ['a key of another tenant', { tenant: 'u', key: 'open' }, 'ACTION_DENIED@1'],
];

function room(store: FailingStore): TestRoom {
  const opened = openRoom(store);
  onTestFinished(() => opened.close());
  return opened;
}

async function fill(): Promise<FailingStore> {
  const memory = openMemoryStore();
  await put(
    memory,
    't',
    user('alice', { roles: ['reader'] }),
    user('sue', { suspended: true, superuser: true }),
    user('wes', { workspaces: ['w'] }),
    user('bob', { superuser: true }),
    role('reader', ['doc:read']),
    { kind: 'workspace', id: 'w', value: { id: 'w', grants: [] } },
    policySet('opens', 'allow', ['doc:read']),
    policySet('bars', 'deny', ['doc:read']),
    key('open', { role: 'default_allow' }),
    key('ruled', { policySets: ['opens'] }),
    key('barred', { role: 'default_allow', policySets: ['bars'] }),
    key('ended', { role: 'default_allow', revoked: true }),
    key('hers', { role: 'default_allow', user: 'alice' }),
  );
  await put(memory, 'u', user('root', { superuser: true }), key('open'));
  return failing(memory);
}

const answersOf = async (facts: TestRoom): Promise<string[]> => {
  const answers: string[] = [];
  for (const [what, question] of QUESTIONS) answers.push(`${what}: ${await ask(facts, question)}`);
  return answers;
};

it.each<Failure>(['throws', 'rejects', 'hangs'])(
  'answers all that was known, while the store %s',
  async (failure) => {
    const store = await fill();
    const first = room(store);
    const expected = QUESTIONS.map(([what, , answer]) => `${what}: ${answer}`);
    expect(await answersOf(first)).toEqual(expected);

    const file = join(temporaryDirectory(), 'snapshot');
    await writeSnapshot(file, STORE, first.snapshot());
    store.fail(failure);
    const second = room(store);
    second.restore(readSnapshot(file, STORE) ?? expect.fail('there is no snapshot'));
    expect(await answersOf(second)).toEqual(expected);
  },
);

it('gives back each record as it was, by its kind', async () => {
  const first = room(await fill());
  await answersOf(first);
  const file = join(temporaryDirectory(), 'snapshot');
  await writeSnapshot(file, STORE, first.snapshot());
  const back = readSnapshot(file, STORE)?.find(({ tenant }) => tenant === 't');
  const made = first.snapshot().find(({ tenant }) => tenant === 't');
  for (const part of ['roles', 'workspaces', 'sets', 'users', 'keys'] as const) {
    const written = [...(made?.[part] ?? [])];
    expect([...(back?.[part] ?? [])], part).toEqual(written);
    expect(written.length, part).toBeGreaterThan(0);
  }
  expect([...(back?.keys ?? [])].map(([id]) => id).sort()).toEqual([
    'barred',
    'ended',
    'hers',
    'open',
    'ruled',
  ]);
});

it('is refused when a byte of it changed, when it was cut, and when it is of another store', async () => {
  const first = room(await fill());
  await answersOf(first);
  const directory = temporaryDirectory();
  const file = join(directory, 'snapshot');
  await writeSnapshot(file, STORE, first.snapshot());
  const text = readFileSync(file, 'utf8');
  expect(() => readSnapshot(file, 'another')).toThrow('is of another store: it is not used');
  expect(readSnapshot(join(directory, 'none'), STORE)).toBeUndefined();
  for (const broken of [
    '',
    text.slice(0, -1),
    text.slice(0, text.length >> 1),
    text.replace('"superuser":false', '"superuser":true '),
    text.replace('default_deny', 'default_allow'),
  ]) {
    writeFileSync(file, broken);
    expect(() => readSnapshot(file, STORE)).toThrow('is broken: it is not used');
  }
});
