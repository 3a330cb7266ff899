/** Contexts: servers by name, in a file of the user; what comes first, and what is never kept. */
import { chmodSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { postern, serve, type Ran, type Serving } from '../support/process.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const TOKEN = 'operator-token-of-this-test-0123456789';
let server: Serving;
let home: string;
beforeAll(async () => {
  server = await serve(['--demo'], { environment: { POSTERN_ADMIN_TOKEN: TOKEN } });
});
afterAll(() => server.dispose());
beforeEach(() => {
  home = temporaryDirectory();
  writeFileSync(join(home, 'token'), `${TOKEN}\n`, { mode: 0o600 });
});

const run = (line: string, environment: Readonly<Record<string, string>> = {}): Promise<Ran> =>
  postern(line.split(' '), { XDG_CONFIG_HOME: home, ...environment });
const file = (): string => join(home, 'postern', 'contexts.yaml');
const setDemo = (): Promise<Ran> =>
  run(
    `context set demo --address ${server.grpc} --tenant demo --token-file ${join(home, 'token')}`,
  );

describe('context', () => {
  it('gives address, tenant and token to commands; the file is for its user alone', async () => {
    expect(await setDemo()).toMatchObject({ code: 0, stdout: 'context demo is set, and in use\n' });
    expect((statSync(file()).mode & 0o777).toString(8)).toBe('600');
    expect((statSync(join(home, 'postern')).mode & 0o777).toString(8)).toBe('700');
    expect(readFileSync(file(), 'utf8')).not.toContain(TOKEN);
    expect(await run('user list')).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('alice'),
    });
    expect(await run('check alice read work.projects.api')).toMatchObject({ code: 0 });
    expect(await run('export')).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('tenant: demo'),
    });
  });

  it('comes after variables, and those after flags', async () => {
    await setDemo();
    const values = async (
      line: string,
      environment: Readonly<Record<string, string>> = {},
    ): Promise<Record<string, string>> => {
      const { stdout } = await run(`-o json ${line}`, environment);
      const told = JSON.parse(stdout) as {
        values: readonly { name: string; value: string; from: string }[];
      };
      return Object.fromEntries(
        told.values.map(({ name, value, from }) => [name, `${value} ${from}`]),
      );
    };
    expect(await values('context show')).toMatchObject({
      context: `demo ${file()}`,
      address: `${server.grpc} context demo`,
      tenant: 'demo context demo',
      token: `${join(home, 'token')} context demo`,
    });
    const environment = { POSTERN_TENANT: 'other', POSTERN_TOKEN: 'x', POSTERN_ADDRESS: '' };
    expect(await values('context show', environment)).toMatchObject({
      address: `${server.grpc} context demo`,
      tenant: 'other POSTERN_TENANT',
      token: 'set POSTERN_TOKEN',
    });
    expect(
      await values('context show --tenant third --address h:1 --token t', environment),
    ).toMatchObject({
      address: 'h:1 flag',
      tenant: 'third flag',
      token: 'given flag',
    });
    expect((await run('--tenant nowhere user list')).stderr).toContain('`nowhere`');
    const wrong = await run('user list', { POSTERN_TOKEN: 'wrong' });
    expect([wrong.code, wrong.stderr]).toEqual([
      2,
      expect.stringContaining('(the token is that of POSTERN_TOKEN)'),
    ]);
  });

  it('is changed field by field, chosen, listed and forgotten', async () => {
    await setDemo();
    await run('context set prod --address prod.example.com:4700 --tls --tenant acme');
    await run('context set prod --tenant beta');
    const listed = await run('context list');
    expect(listed.stdout).toMatch(/^\* +demo .*\n +prod +prod\.example\.com:4700 +beta +yes/m);
    expect(await run('context use prod')).toMatchObject({ code: 0 });
    expect((await run('context show')).stdout).toMatch(/tenant +beta +context prod/);
    expect((await run('context show', { POSTERN_CONTEXT: 'demo' })).stdout).toMatch(
      /context +demo +POSTERN_CONTEXT/,
    );
    expect(await run('context delete prod')).toMatchObject({ code: 0 });
    expect((await run('context show')).stdout).toMatch(/address +127\.0\.0\.1:4700 +default/);
  });

  it.each([
    ['context use dmeo', 1, 'there is no context `dmeo`: did you mean `demo`?'],
    ['context delete nothing', 1, 'there is no context `nothing`'],
    ['context set a/b --tenant x', 2, 'is not a valid context name'],
    ['context set demo', 2, 'nothing to set'],
    ['context set demo --token secret', 2, 'a context keeps no token: put it in a file'],
    ['context set demo --address http://x', 2, 'begins with http://'],
  ])('%s is refused', async (line, code, told) => {
    await setDemo();
    const ran = await run(line);
    expect([ran.code, ran.stdout]).toEqual([code, '']);
    expect(ran.stderr).toContain(told);
    expect(readFileSync(file(), 'utf8')).not.toContain('secret');
  });

  it('says where a token was looked for', async () => {
    const environment = { POSTERN_ADDRESS: server.grpc, POSTERN_TENANT: 'demo' };
    const ran = await run('user list', environment);
    expect(ran.code).toBe(2);
    expect(ran.stderr).toContain(
      'no token was sent: --token, --token-file, POSTERN_TOKEN and POSTERN_ADMIN_TOKEN are not set, and no context is in use',
    );
    await run('context set bare --tenant demo');
    expect((await run('user list', environment)).stderr).toContain(
      'the context `bare` has no token file',
    );
  });

  it('is refused where others may write it, is malformed, or names what is not there', async () => {
    mkdirSync(join(home, 'postern'));
    writeFileSync(file(), 'contexts: {}\n');
    chmodSync(file(), 0o666);
    expect((await run('user list')).stderr).toContain('may be changed by other users: chmod 600');
    writeFileSync(file(), 'contexts: { a: { adress: x } }\n');
    chmodSync(file(), 0o600);
    const malformed = await run('user list');
    expect([malformed.code, malformed.stderr]).toEqual([
      2,
      expect.stringContaining('did you mean `address`?'),
    ]);
    writeFileSync(file(), 'current: gone\ncontexts: { a: { tenant: x } }\n');
    expect((await run('user list')).stderr).toContain('there is no context `gone`');
    expect((await run('user list', { POSTERN_CONTEXT: 'b' })).stderr).toContain(
      'POSTERN_CONTEXT: there is no context `b`',
    );
  });
});
