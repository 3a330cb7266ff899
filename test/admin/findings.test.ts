/** What is found in a state that is applied is told with its place: line, column and path (ABAC-5). */
import { beforeEach, expect, it } from 'vitest';
import { OPERATOR } from '../../src/admin/actor.ts';
import { bytesOf, manager, TENANT, type Manager } from '../support/admin.ts';
import { openMemoryStore } from '../support/memory-store.ts';

let room: Manager;
beforeEach(() => {
  room = manager(openMemoryStore());
});

const warningsOf = async (text: string): Promise<readonly string[]> => {
  const answer = await room.admin.apply(
    OPERATOR,
    { tenant: TENANT, prune: false, keep: false },
    bytesOf(text),
  );
  // The shape of an answer is the operation's own.
  return (answer as unknown as { result: { warnings: readonly string[] } }).result.warnings;
};

/** Each finding as `line:column: path`. */
const placesOf = (warnings: readonly string[]): string[] =>
  warnings.map((text) => /^state:(\d+:\d+: [^:]+): warning: /.exec(text)?.[1] ?? text);

const STATE = `tenant: acme
policy_sets:
  - name: first
    mode: enforce
    rules:
      - { id: fine, effect: allow, actions: [graph.search] }
  - policy_set:
      name: second
      mode: enforce
      rules:
        - { id: fine, effect: allow, actions: [graph.search], attributes: { team: [a] } }
        - id: late
          effect: allow
          actions: [graph.add]
          attributes: { team: [a] }
keys:
  - { id: quiet, role: default_deny, mode: enforce, policy_sets: [first] }
  - id: loud
    role: default_allow
    mode: enforce
    policy_sets: [first, second]
`;

it('each finding of a set and of a key has its own place', async () => {
  expect(await warningsOf(STATE)).toEqual([
    expect.stringMatching(
      /^state:12:11: policy_sets\[1\]\.policy_set\.rules\[1\]: warning: rule late never permits graph\.add/,
    ),
    expect.stringMatching(
      /^state:11:11: policy_sets\[1\]\.policy_set\.rules\[0\]: warning: rule fine restricts nothing for/,
    ),
    expect.stringMatching(
      /^state:11:11: policy_sets\[1\]\.policy_set\.rules\[0\]: warning: rule fine restricts nothing on key loud/,
    ),
    expect.stringMatching(
      /^state:12:11: policy_sets\[1\]\.policy_set\.rules\[1\]: warning: rule late restricts nothing on key loud/,
    ),
  ]);
});

it('lines before a finding move it', async () => {
  const before = placesOf(await warningsOf(STATE));
  const moved = placesOf(await warningsOf(`# one\n# two\n${STATE}`));
  expect(before).toHaveLength(4);
  const down = (place: string): string => place.replace(/^\d+/, (line) => String(Number(line) + 2));
  expect(moved).toEqual(before.map(down));
});

it('a finding in JSON has its place too', async () => {
  const text = JSON.stringify(
    {
      tenant: TENANT,
      policy_sets: [
        {
          name: 'second',
          mode: 'enforce',
          rules: [
            { id: 'late', effect: 'allow', actions: ['graph.add'], attributes: { team: ['a'] } },
          ],
        },
      ],
    },
    undefined,
    1,
  );
  expect(placesOf(await warningsOf(text))).toEqual(['8:5: policy_sets[0].rules[0]']);
});
