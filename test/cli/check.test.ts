/** `postern check`: who asks by a credential, and by what it was decided, for people and for programs. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { postern, serve, type Ran, type Serving } from '../support/process.ts';

const TOKEN = 'operator-token-of-this-test-0123456789';
let server: Serving;
beforeAll(async () => {
  server = await serve(['--demo'], { environment: { POSTERN_ADMIN_TOKEN: TOKEN } });
});
afterAll(() => server.dispose());

const run = (...args: string[]): Promise<Ran> =>
  postern([...args, '--tenant', 'demo'], { ...server.environment, POSTERN_TOKEN: TOKEN });
const file = (name: string, text: string): string => {
  const path = join(server.directory, name);
  writeFileSync(path, text);
  return path;
};

describe('check -o json', () => {
  it('has what decided, as the table tells it', async () => {
    const { stdout } = await run('check', 'alice', 'read', 'work.projects.api', '-o', 'json');
    const answer = JSON.parse(stdout) as { by: { kind: string; text: string }[] };
    expect(answer).toMatchObject({ allowed: true, reason: 'REASON_ALLOWED' });
    const table = await run('check', 'alice', 'read', 'work.projects.api');
    expect(answer.by.length).toBeGreaterThan(0);
    for (const { text } of answer.by) expect(table.stdout).toContain(text);
    const denied = await run('check', 'nobody', 'read', 'work', '-o', 'json');
    expect(JSON.parse(denied.stdout)).toMatchObject({ allowed: false, by: [] });
  });
});

describe('check --credential-file', () => {
  it('asks as who the token proves, of each form', async () => {
    const made = await run(
      'key',
      'create',
      'agent-2',
      '--role',
      'default_allow',
      '--mode',
      'enforce',
      '-o',
      'json',
    );
    const { secret } = JSON.parse(made.stdout) as { secret: string };
    const key = file('key', `${secret}\n`);
    expect(await run('check', '-', 'graph.search', '--credential-file', key)).toMatchObject({
      code: 0,
    });
    const session = await run('session', 'create', 'alice', '-o', 'json');
    const { token } = JSON.parse(session.stdout) as { token: string };
    const own = file('session', token);
    const allowed = await run('check', '-', 'read', 'work.projects.api', '--credential-file', own);
    expect(allowed).toMatchObject({ code: 0 });
    await run('key', 'revoke', 'agent-2');
    const revoked = await run('check', '-', 'graph.search', '--credential-file', key);
    expect(revoked).toMatchObject({ code: 1 });
    // The operator is told why, and nobody else.
    expect(revoked.stdout).toMatch(/denied KEY_INVALID/);
    expect(revoked.stdout).toContain('the credential: ');
    const json = await run('check', '-', 'graph.search', '--credential-file', key, '-o', 'json');
    expect(JSON.parse(json.stdout)).toMatchObject({ credential_problem: 'revoked' });
    const other = await postern(
      ['check', '-', 'graph.search', '--credential-file', key, '--tenant', 'demo'],
      { ...server.environment, POSTERN_TOKEN: '' },
    );
    expect(other.stdout).toMatch(/denied KEY_INVALID/);
    expect(other.stdout).not.toContain('the credential');
    const jwt = file('jwt', 'e30.e30.e30');
    expect((await run('check', '-', 'read', 'work', '--credential-file', jwt)).stdout).toMatch(
      /KEY_INVALID/,
    );
  });

  it('is refused where it is empty, missing, or beside --key', async () => {
    const empty = file('empty', ' \n');
    const refused = await run('check', '-', 'read', 'work', '--credential-file', empty);
    expect(refused).toMatchObject({ code: 2 });
    expect(refused.stderr).toContain('is empty');
    const both = await run('check', '-', 'read', 'work', '--credential-file', empty, '--key', 'k');
    expect(both.stderr).toContain('give one');
    const none = await run('check', '-', 'read', '--credential-file', join(server.directory, 'no'));
    expect(none).toMatchObject({ code: 2 });
  });
});
