/** A large state: applied with progress, in one commit, and to the same end however often it is killed before. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { postern } from '../support/process.ts';
import { PACKAGE_ROOT } from '../support/package-root.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const USERS = 10_000;
const ROLES = 100;
const GRANTS = 10;

/** Over 8 MiB, so that it is read as JSON. */
function largeState(): string {
  const users = Array.from({ length: USERS }, (_, index) => ({
    id: `user-${index}`,
    email: `user-${index}@example.com`,
    roles: [`role-${index % ROLES}`],
  }));
  const roles = Array.from({ length: ROLES }, (_, index) => ({
    id: `role-${index}`,
    level: index % 90,
    permissions: ['kb:read'],
    ...(index === 0 ? {} : { roles: [`role-${Math.floor((index - 1) / 4)}`] }),
  }));
  const grants = users.flatMap(({ id }, index) =>
    Array.from({ length: GRANTS }, (_, grant) => ({
      principal: `user:${id}`,
      path: `work.p${index % 1_000}.t${grant}`,
      actions: ['read', 'write'],
    })),
  );
  return JSON.stringify({ tenant: 'large', users, roles, grants });
}

it('ends the same however often it is killed, tells what it does, and holds together', async () => {
  const directory = temporaryDirectory();
  const file = join(directory, 'large.json');
  writeFileSync(file, largeState());
  const environment = (store: string): Record<string, string> => ({
    POSTERN_STORE: `embedded:${join(directory, store)}`,
    POSTERN_TENANT: 'large',
  });
  for (const ms of [600, 1_500, 3_000, 4_500]) {
    const child = spawn(
      process.execPath,
      [join(PACKAGE_ROOT, 'src/cli/main.ts'), 'apply', '-f', file],
      { env: { ...process.env, ...environment('killed') }, stdio: 'ignore' },
    );
    setTimeout(() => child.kill('SIGKILL'), ms);
    await once(child, 'exit');
  }
  const again = await postern(['apply', '-f', file], environment('killed'));
  expect(again.code).toBe(0);
  expect(again.stderr).toMatch(
    /reading the state[^]*checking the state[^]*planning and committing/,
  );
  const single = await postern(['apply', '-f', file], environment('whole'));
  expect(single.stdout).toMatch(/\n\+ {2}200,000 {2}grant\n/);
  const exported = async (store: string): Promise<string> =>
    (await postern(['export', '-o', 'json'], environment(store))).stdout;
  const [killed, whole] = [await exported('killed'), await exported('whole')];
  expect(killed.length).toBeGreaterThan(1_000_000);
  expect(killed === whole).toBe(true);
  const nothing = await postern(['apply', '-f', file], environment('killed'));
  expect(nothing.stdout).toContain('0 record(s) changed');
}, 240_000);
