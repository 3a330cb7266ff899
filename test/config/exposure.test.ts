/** Half an authentication is none: settings that would expose secrets or decisions are refused at the start, by name. */
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { ConfigError } from '../../src/config/problem.ts';
import { loadSettings, type LoadedSettings } from '../../src/config/settings/load-settings.ts';
import { startServer } from '../../src/server/compose.ts';
import { postern } from '../support/process.ts';
import { PACKAGE_ROOT } from '../support/package-root.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const TOKEN = 'operator-0123456789-0123456789';
const CALLER = { name: 'a', token_sha256: createHash('sha256').update('a-token').digest('hex') };
const OTHER = { name: 'b', token_sha256: createHash('sha256').update('b-token').digest('hex') };
const TLS = { cert: 'server.pem', key: 'server.key' };
const EVERYWHERE = '0.0.0.0:0';
const ISSUER = {
  issuer: 'https://issuer.example',
  audience: 'postern',
  algorithms: ['RS256'],
  jwks_url: 'https://issuer.example/jwks',
  tenant: 'acme',
};

/** A settings file; its catalog and roles are those that come with Postern. */
function written(settings: object): string {
  const file = join(temporaryDirectory(), 'postern.yaml');
  const common = {
    catalog: join(PACKAGE_ROOT, 'config/actions.yaml'),
    default_roles: join(PACKAGE_ROOT, 'config/roles.yaml'),
    migrations: join(PACKAGE_ROOT, 'config/migrations'),
    store: 'embedded:store',
    audit: { sinks: [] },
    http: { address: '127.0.0.1:0' },
    ...settings,
  };
  writeFileSync(file, stringify(common));
  return file;
}

function load(
  settings: object,
  environment: Readonly<Record<string, string>> = {},
): LoadedSettings {
  return loadSettings(written(settings), environment, PACKAGE_ROOT);
}

/** What the settings are refused with. */
function refusal(settings: object, environment: Readonly<Record<string, string>> = {}): string {
  try {
    load(settings, environment);
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
  return expect.fail('they were accepted');
}

describe('TLS by halves', () => {
  it.each([
    [{ tls: { cert: 'a.pem' } }, 'grpc.tls: has one of `cert` and `key`: give both'],
    [{ tls: { key: 'a.key' } }, 'grpc.tls: has one of `cert` and `key`: give both'],
    [{ tls: { client_ca: 'ca.pem' } }, 'grpc.tls.client_ca: also needs `cert` and `key`'],
    [
      { tls: { client_ca: 'ca.pem', key: 'a.key' } },
      'grpc.tls.client_ca: also needs `cert` and `key`',
    ],
  ])('%j is refused', (grpc, told) => {
    expect(refusal({ grpc })).toContain(told);
  });
});

describe('permissions of a unix socket', () => {
  it.each([
    [{ address: 'unix:/tmp/p.sock', socket_mode: '660' }, ''],
    [{ address: 'unix:/tmp/p.sock', socket_mode: '0666' }, ''],
    [{ address: 'unix:/tmp/p.sock', socket_mode: '0668' }, '`"0668"` is not an octal number'],
    [{ address: 'unix:/tmp/p.sock', socket_mode: '01660' }, '`"01660"` is not an octal number'],
    // What YAML makes of 0660 without quotes is another number.
    [{ address: 'unix:/tmp/p.sock', socket_mode: 660 }, '`660` is not a string'],
    [{ address: '127.0.0.1:0', socket_mode: '0660' }, '`127.0.0.1:0` is not one: omit it'],
  ])('%j', (section, problem) => {
    for (const name of ['grpc', 'http'])
      if (problem === '') expect(load({ [name]: section }).settings).toBeDefined();
      else expect(refusal({ [name]: section })).toMatch(new RegExp(`${name}.socket_mode: .*`));
    if (problem !== '') expect(refusal({ grpc: section })).toContain(problem);
  });
});

describe('what may not be reached in the clear from elsewhere', () => {
  const open = ['0.0.0.0:4700', '[::]:4700', '10.1.2.3:4700', 'postern.example:4700'];
  // Names that begin like loopback addresses are names still.
  const disguised = ['127.0.0.1.example.com:4700', '127.example:4700', 'localhost.example:4700'];

  it.each([...open, ...disguised])('AdminService at %s', (address) => {
    const told = `grpc.address: \`${address}\` is not a loopback address, and AdminService is enabled there without TLS: set \`grpc.tls\`, or listen on 127.0.0.1`;
    expect(refusal({ grpc: { address }, admin: { enabled: true } })).toContain(told);
    // An operator's token enables it.
    expect(refusal({ grpc: { address } }, { POSTERN_ADMIN_TOKEN: TOKEN })).toContain(told);
    expect(refusal({ admin: { enabled: true } }, { POSTERN_GRPC_ADDRESS: address })).toContain(
      told,
    );
  });

  it.each([...open, ...disguised])('the tokens of callers at %s', (address) => {
    expect(refusal({ grpc: { address, callers: [CALLER] } })).toContain(
      `grpc.callers: send their tokens in the clear to \`${address}\`: set \`grpc.tls\`, or listen on 127.0.0.1`,
    );
  });

  it.each(['127.0.0.1:0', '127.8.9.10:4700', 'localhost:4700', '[::1]:4700', 'unix:/tmp/p.sock'])(
    'is at home at %s',
    (address) => {
      const grpc = { address, callers: [CALLER, OTHER] };
      const { adminToken, warnings } = load({ grpc }, { POSTERN_ADMIN_TOKEN: TOKEN });
      expect(adminToken).toBe(TOKEN);
      expect(warnings).toEqual([]);
    },
  );

  it('is open where TLS is there; whoever may ask is told in a warning', () => {
    const grpc = { address: EVERYWHERE, tls: TLS };
    expect(load({ grpc, admin: { enabled: true } }).warnings).toEqual([
      'anyone who can connect to `0.0.0.0:0` may ask: set `grpc.tls.client_ca` or `grpc.callers`',
    ]);
    expect(load({ grpc: { ...grpc, callers: [CALLER] } }).warnings).toEqual([]);
    expect(load({ grpc: { ...grpc, tls: { ...TLS, client_ca: 'ca.pem' } } }).warnings).toEqual([]);
  });
});

describe('the admin token', () => {
  it.each([
    ['short', 'the admin token has 5 characters: give 24 random ones or more'],
    ['1234567', 'the admin token has 7 characters'],
    // No header carries these: nobody could call.
    [`two words ${TOKEN}`, 'holds a blank or a character beyond ASCII'],
    [`${TOKEN}\n`, 'holds a blank or a character beyond ASCII'],
    [`${TOKEN}é`, 'holds a blank or a character beyond ASCII'],
  ])('%j is refused, and not shown', (token, told) => {
    const text = refusal({}, { POSTERN_ADMIN_TOKEN: token });
    expect(text).toContain('environment:');
    expect(text).toContain(told);
    expect(text).not.toContain(token);
  });

  it('that is less than long is warned of, without showing it', () => {
    const { warnings } = load({}, { POSTERN_ADMIN_TOKEN: 'abcdefgh-12345' });
    expect(warnings).toEqual(['the admin token is short: give 24 random characters or more']);
  });

  it('comes from a file too, relative to the settings, or from the environment, never from both', () => {
    const file = join(temporaryDirectory(), 'token');
    writeFileSync(file, `${TOKEN}\n`);
    const admin = { token_file: file };
    const { adminToken, settings } = load({ admin });
    expect(adminToken).toBe(TOKEN);
    expect(JSON.stringify(settings)).not.toContain(TOKEN);
    const both = refusal({ admin }, { POSTERN_ADMIN_TOKEN: TOKEN });
    expect(both).toContain('POSTERN_ADMIN_TOKEN is set, and `admin.token_file` too: keep one');
    expect(both).not.toContain(TOKEN);
  });

  it('in a file that cannot be read or says too little is refused, and the file is named', () => {
    const directory = temporaryDirectory();
    const missing = join(directory, 'missing');
    expect(refusal({ admin: { token_file: missing } })).toContain(`${missing}:1:1: cannot be read`);
    expect(refusal({ admin: { token_file: directory } })).toContain('cannot be read');
    const empty = join(directory, 'empty');
    writeFileSync(empty, '\n');
    expect(refusal({ admin: { token_file: empty } })).toContain(
      `${empty}:1:1: the admin token has 0 characters`,
    );
  });
});

describe('callers', () => {
  it.each([
    [[CALLER, { ...OTHER, name: 'a' }], 'grpc.callers[1]: `a` is listed twice: keep one'],
    [[{ ...CALLER, token_sha256: 'a-token' }], 'is not the SHA-256 of a token'],
    [[{ ...CALLER, token_sha256: CALLER.token_sha256.toUpperCase() }], 'is not the SHA-256'],
    [[{ ...CALLER, name: '' }], 'grpc.callers[0].name'],
    [[{ name: 'a', token: 'a-token' }], 'grpc.callers[0]'],
  ])('%j is refused', (callers, told) => {
    expect(refusal({ grpc: { callers } })).toContain(told);
  });

  it.each([
    [[CALLER, { ...CALLER, name: 'b' }], 'callers `a` and `b` have the same hash'],
    [
      [{ name: 'a', token_sha256: createHash('sha256').update('').digest('hex') }],
      'caller `a`: hash is that of the empty token',
    ],
  ])('%j is refused at the start, by its place', async (callers, told) => {
    expect(await startRefusal({ grpc: { address: '127.0.0.1:0', callers } })).toMatch(
      new RegExp(`postern\\.yaml:1:1: grpc\\.callers: ${told}`),
    );
  });
});

/** What the server does not start with. */
async function startRefusal(settings: object): Promise<string> {
  const { settings: loaded, file } = load(settings);
  const options = { settings: loaded, settingsFile: file, states: [], version: 'test' };
  const running = await startServer({ ...options, packageRoot: PACKAGE_ROOT }).catch(
    (error: unknown) => error,
  );
  if (running instanceof ConfigError) return running.message;
  if (running instanceof Error) throw running;
  return expect.fail('it started');
}

/** An issuer without some fields, with others. */
function issuer(changes: object): object {
  const merged = Object.entries({ ...ISSUER, ...changes });
  return Object.fromEntries(merged.filter(([, value]) => value !== undefined));
}

describe('issuers', () => {
  it.each([
    [{ audience: undefined }, 'identity.jwt[0].audience'],
    [{ audience: '' }, 'identity.jwt[0].audience'],
    [{ audience: [] }, 'identity.jwt[0].audience'],
    [{ algorithms: [] }, 'identity.jwt[0].algorithms'],
    [{ algorithms: undefined }, 'identity.jwt[0].algorithms'],
    [{ issuer: '' }, 'identity.jwt[0].issuer'],
    [{ secret: 'x' }, 'identity.jwt[0]'],
  ])('%j is refused by the settings', (changes, told) => {
    expect(refusal({ identity: { jwt: [issuer(changes)] } })).toContain(told);
  });

  it.each([
    [{ algorithms: ['HS256'] }, 'algorithms: `HS256` is not accepted: use some of RS256'],
    [{ algorithms: ['RS256', 'none'] }, 'algorithms: `none` is not accepted'],
    [{ jwks_url: 'http://issuer.example/jwks' }, 'can be tampered with: use https'],
    [{ jwks_url: 'http://127.0.0.1.example.com/jwks' }, 'can be tampered with: use https'],
    [{ jwks_url: 'https://user:password@issuer.example/jwks' }, 'leave them out'],
    [{ jwks_url: undefined }, 'jwks_url and jwks_file: give exactly one of them'],
    [{ jwks_file: 'keys.json' }, 'jwks_url and jwks_file: give exactly one of them'],
    [{ tenant_claim: 'tenant' }, 'tenant and tenant_claim: give exactly one of them'],
    [{ tenant: undefined }, 'tenant and tenant_claim: give exactly one of them'],
    [{ tenant: ' acme' }, 'tenant ` acme` has white space'],
    [{ clock_tolerance_seconds: 3_600 }, 'clock_tolerance_seconds `3600` is out of range'],
    [{ subject_claim: '' }, 'subject_claim is empty'],
  ])('%j is refused at the start, by the file and the place', async (changes, told) => {
    const text = await startRefusal({
      grpc: { address: '127.0.0.1:0' },
      identity: { jwt: [issuer(changes)] },
    });
    expect(text).toContain('postern.yaml:1:1: identity.jwt: issuer `https://issuer.example`: ');
    expect(text).toContain(told);
    expect(text).not.toContain('password@');
  });

  it('the same one twice is refused', async () => {
    const text = await startRefusal({
      grpc: { address: '127.0.0.1:0' },
      identity: { jwt: [ISSUER, ISSUER] },
    });
    expect(text).toContain('identity.jwt: issuer `https://issuer.example`: is there twice');
  });
});

describe('postern serve', () => {
  it.each([
    ['identity.jwt', { identity: { jwt: [issuer({ algorithms: ['HS256'] })] } }, {}],
    ['grpc.address', { grpc: { address: EVERYWHERE }, admin: { enabled: true } }, {}],
    ['grpc.address', { grpc: { address: EVERYWHERE } }, { POSTERN_ADMIN_TOKEN: TOKEN }],
    ['grpc.callers', { grpc: { address: EVERYWHERE, callers: [CALLER] } }, {}],
    ['grpc.tls.cert', { grpc: { address: EVERYWHERE, tls: TLS } }, {}],
  ])('does not start, and names %s and the file', async (field, settings, environment) => {
    const file = written({ grpc: { address: '127.0.0.1:0' }, ...settings });
    const { code, stderr, stdout } = await postern(['serve', '--config', file], environment);
    expect(code).not.toBe(0);
    expect(stderr).toContain(field);
    // One line for people, no trace of where in the code it was found.
    expect(stderr).not.toMatch(/\n\s+at /);
    expect(stderr).not.toContain(TOKEN);
    expect(stdout).toBe('');
    // A certificate that is not there is named itself.
    expect(stderr).toContain(field === 'grpc.tls.cert' ? 'server.pem' : file);
  });
});
