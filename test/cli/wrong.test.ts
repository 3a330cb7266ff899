/**
 * Wrong invocations of the built command: the exit code (1: understood and refused or denied, 2: malformed, or no
 * answer; alike with a server and without), one sentence on stderr that names the remedy, no stack, no words of a
 * library.
 */
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { postern, serve, type Ran, type Serving } from '../support/process.ts';
import { PACKAGE_ROOT } from '../support/package-root.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const TOKEN = 'operator-token-of-this-test-0123456789';
const directory = temporaryDirectory();
const at = (name: string): string => join(directory, name);
let server: Serving;
let taken: Server;
let mute: Server;

const FILES: Readonly<Record<string, string | Uint8Array>> = {
  'syntax.yaml': 'tenant: acme\nusers: [{ id: a }\n',
  'colons.yaml': 'tenant: acme: b\n',
  'tab.yaml': 'tenant: acme\nusers:\n\t- id: a\n',
  'twice.yaml': 'tenant: acme\ntenant: acme\n',
  'two.yaml': 'tenant: acme\n---\ntenant: beta\n',
  'empty.yaml': '',
  'list.yaml': '- 1\n',
  'latin.yaml': Uint8Array.from([0x74, 0x3a, 0x20, 0xe9, 0x0a]),
  'unknown.yaml': 'tenant: acme\nuser: []\n',
  'same.yaml': 'tenant: acme\nusers: [{ id: a }, { id: a }]\n',
  'nobody.yaml': 'tenant: acme\nroles: [{ id: r, members: [nobody] }]\n',
  'date.yaml':
    'tenant: acme\nkeys: [{ id: k, role: default_deny, mode: enforce, expires_at: 2027-02-30T00:00:00Z }]\n',
  'zone.yaml':
    'tenant: acme\nkeys: [{ id: k, role: default_deny, mode: enforce, expires_at: "2027-02-03T00:00:00" }]\n',
  'broken.json': '{ "tenant": "acme", "users": [ }',
  'set.yaml':
    'policy_set: { name: p, mode: enforce, rules: [{ id: r, effect: alow, actions: [x] }] }\n',
  'action.yaml':
    'policy_set: { name: p, mode: enforce, rules: [{ id: r, effect: allow, actions: [graph.serch] }] }\n',
  'users.yaml': '- { id: a, emial: x }\n',
  'settings-key.yaml': 'stores: x\n',
  'settings-store.yaml': `catalog: ${PACKAGE_ROOT}/config/actions.yaml\ndefault_roles: ${PACKAGE_ROOT}/config/roles.yaml\nstore: mysql:x\ngrpc: { address: 127.0.0.1:0 }\nhttp: { address: 127.0.0.1:0 }\n`,
  'settings-catalog.yaml': `catalog: nowhere.yaml\ndefault_roles: ${PACKAGE_ROOT}/config/roles.yaml\nstore: embedded:x\n`,
  'settings-none.yaml': `default_roles: ${PACKAGE_ROOT}/config/roles.yaml\nstore: embedded:x\n`,
  'settings-address.yaml': 'grpc: { address: "localhost" }\n',
  'pem.pem': 'no certificate\n',
};

/** Other tests have servers on the port that is the default. */
const OWN_HTTP = 'http: { address: 127.0.0.1:0 }\n';

beforeAll(async () => {
  for (const [name, text] of Object.entries(FILES)) writeFileSync(at(name), text);
  mkdirSync(at('directory'));
  symlinkSync('loop.yaml', at('loop.yaml'));
  const listening = (one: Server): Promise<void> =>
    new Promise((done) => one.listen(0, '127.0.0.1', done));
  taken = createServer();
  mute = createServer((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
  await Promise.all([listening(taken), listening(mute)]);
  writeFileSync(at('settings-ok.yaml'), settings(''));
  writeFileSync(
    at('settings-taken.yaml'),
    settings(`grpc: { address: ${addressOf(taken)} }\n${OWN_HTTP}`),
  );
  writeFileSync(
    at('settings-http.yaml'),
    settings(`grpc: { address: 127.0.0.1:0 }\nhttp: { address: ${addressOf(taken)} }\n`),
  );
  writeFileSync(
    at('settings-lost.yaml'),
    settings(`grpc: { address: 'unix:${at('gone/x.sock')}' }\n${OWN_HTTP}`),
  );
  writeFileSync(
    at('settings-long.yaml'),
    settings(`grpc: { address: 'unix:/tmp/${'s'.repeat(110)}' }\n${OWN_HTTP}`),
  );
  server = await serve([], {
    settings: settings('grpc: { address: 127.0.0.1:0 }\nhttp: { address: 127.0.0.1:0 }\n'),
    environment: { POSTERN_ADMIN_TOKEN: TOKEN },
  });
  const made = await postern(['tenant', 'create', 'acme'], online());
  if (made.code !== 0) throw new Error(made.stderr);
});
afterAll(async () => {
  taken.close();
  mute.close();
  await server.dispose();
});

function settings(more: string): string {
  const files = `catalog: ${PACKAGE_ROOT}/config/actions.yaml\ndefault_roles: ${PACKAGE_ROOT}/config/roles.yaml\n`;
  return `${files}store: embedded:store\naudit: { sinks: [] }\n${more}`;
}

function addressOf(one: Server): string {
  const address = one.address();
  return typeof address === 'object' && address !== null ? `127.0.0.1:${address.port}` : '';
}

function online(): Readonly<Record<string, string>> {
  return { POSTERN_ADDRESS: server.grpc, POSTERN_TOKEN: TOKEN, POSTERN_TENANT: 'acme' };
}

/** Words in which libraries speak, and lines of a stack. */
const LIBRARY =
  /\n\s+at |node:internal|YAML\.|parseAll|No address added|UNAVAILABLE|ENOENT|EISDIR|ECONN|EADDR|EINVAL|ERR_|errno|Invalid (input|ISO|string|time)|Resolution note|RangeError|TypeError|zod|undefined|\[object/;

/** What is wrong with how a command failed; empty: nothing. */
function faultsOf(ran: Ran, code: number, words: RegExp): string[] {
  return [
    ...(ran.code === code ? [] : [`exit code ${String(ran.code)} is not ${code}`]),
    ...(ran.stdout === '' ? [] : [`stdout has ${ran.stdout}`]),
    ...(words.test(ran.stderr) ? [] : [`${ran.stderr} does not match ${String(words)}`]),
    ...(LIBRARY.test(ran.stderr) ? [`${ran.stderr} has words of a library`] : []),
    ...(ran.stderr.trimEnd().includes('\n') ? [`${ran.stderr} is more than a line`] : []),
  ];
}

type Wrong = readonly [line: string, code: number, words: RegExp];

/** `@name` stands for a file of this test. */
function words(line: string): string[] {
  return [...line.matchAll(/"([^"]*)"|(\S+)/g)]
    .map((match) => match[1] ?? match[2] ?? '')
    .map((word) => (word.startsWith('@') ? at(word.slice(1)) : word));
}

const OFFLINE: readonly Wrong[] = [
  ['chek alice read x', 2, /unknown command `chek`: did you mean `check`\? \(postern --help/],
  ['user crate alice', 2, /unknown command `crate`: did you mean `create`\? \(postern user --help/],
  ['check alice', 2, /missing required argument `action` \(postern check --help/],
  ['check a b c d', 2, /too many arguments for `check`: it takes 3, and got 4/],
  ['--nope', 2, /unknown option `--nope`/],
  ['check a b --tenent x', 2, /unknown option `--tenent`: did you mean `--tenant`\?/],
  ['-o xml user list', 2, /`xml` is invalid: allowed are table, json, yaml/],
  ['user list', 2, /no tenant: give --tenant NAME/],
  ['check alice read x', 2, /no tenant: give --tenant NAME/],
  ['export', 2, /no tenant/],
  ['--tenant t check alice read --address ""', 2, /--address: `` is empty: write host:port/],
  ['--tenant t check alice read --address garbage', 2, /`garbage` has no port: write garbage:4700/],
  ['--tenant t check alice read --address a:b:c', 2, /`a:b:c` is not host:port or unix:\/path/],
  ['--tenant t check alice read --address 127.0.0.1:70000', 2, /has port 70000: ports go to 65535/],
  ['--tenant t check alice read --address http://127.0.0.1:4700', 2, /begins with http:\/\//],
  ['--tenant t check alice read --address unix:', 2, /`unix:` has no path/],
  [`--tenant t check alice read --address unix:/${'x'.repeat(120)}`, 2, /at most 107/],
  [
    '--tenant t check alice read --address unix:/no/such.sock',
    2,
    /the socket does not exist: start it/,
  ],
  ['--tenant t check alice read --address 127.0.0.1:1', 2, /nothing listens there: start it/],
  ['--tenant t check alice read --address nohost.invalid:1', 2, /name of the host is not known/],
  ['--tenant t user list --token x --address 127.0.0.1:1', 2, /nothing listens there/],
  ['--tenant t user list --token "a b"', 2, /token: .* blank/],
  ['--tenant t user list --token-file @none', 2, /--token-file: .* no such file/],
  ['--tenant t user list --token-file @directory', 2, /--token-file: .* it is a directory/],
  ['--tenant t check alice read --ca @none', 2, /--ca: .* no such file/],
  [
    '--tenant t check alice read --ca @pem.pem --address 127.0.0.1:1',
    2,
    /not usable as PEM files|nothing listens|trusted/,
  ],
  ['--tenant t check alice read --attr k', 2, /--attr: `k` is not key=value/],
  ['--tenant t check alice read --attr k:={', 2, /--attr k: `\{` is not JSON/],
  ['--tenant t check alice read --min-revision 1e3', 2, /--min-revision: `1e3` is not a number/],
  [
    '--tenant t key create k --expires-at 2027-02-30T00:00:00Z',
    2,
    /no day of the calendar: that month has 28 days/,
  ],
  ['--tenant t key create k --expires-at 2028-02-30T00:00:00Z', 2, /that month has 29 days/],
  ['--tenant t key create k --expires-at 2027-04-31T00:00:00+01:00', 2, /that month has 30 days/],
  ['--tenant t key create k --expires-at 2027-13-01T00:00:00Z', 2, /month 13/],
  ['--tenant t key create k --expires-at 2027-00-01T00:00:00Z', 2, /month 0/],
  ['--tenant t key create k --expires-at 2027-02-03T24:01:00Z', 2, /no time of day/],
  [
    '--tenant t key create k --expires-at 2027-02-03T10:00:00',
    2,
    /has no zone: write 2027-02-03T10:00:00Z/,
  ],
  [
    '--tenant t key create k --expires-at 2027-02-03',
    2,
    /has no time of day: write 2027-02-03T00:00:00Z/,
  ],
  ['--tenant t key create k --expires-at 2027-02-03T10:00:00+25:00', 2, /no such offset/],
  ['--tenant t key create k --expires-at tomorrow', 2, /not an RFC 3339 time: write it as/],
  ['--tenant t key create k --expires-in 999999999d', 2, /too long: at most 36500d/],
  [
    'audit query --file @none --from 2027-02-30T00:00:00Z',
    2,
    /no day of the calendar|no such file/,
  ],
  ['audit query --file @none', 2, /there is no such file/],
  ['apply', 2, /required option `-f, --file <state>` not specified \(postern apply --help/],
  ['validate @none', 2, /no such file or directory: check the path/],
  ['test @none', 2, /no such file or directory: check the path/],
  ['healthcheck --http nope', 2, /--http: `nope` has no port: write nope:4701/],
  ['healthcheck --http 127.0.0.1:1', 2, /no answer from 127.0.0.1:1: nothing listens there/],
  ['replay --log @none', 2, /there is no such file/],
  ['completion tcsh', 2, /allowed are bash, zsh, fish/],
  ['serve --config @none', 2, /none:1:1: cannot be read: there is no such file/],
  ['serve --config @directory', 2, /cannot be read: it is a directory: name a file/],
  ['serve --config @settings-key.yaml', 2, /unknown key `stores`: did you mean `store`\?/],
  ['serve --config @settings-store.yaml', 2, /store: `mysql:x` is not supported: use embedded:DIR/],
  [
    'serve --config @settings-catalog.yaml',
    2,
    /nowhere\.yaml:1:1: cannot be read: there is no such file/,
  ],
  [
    'serve --config @settings-none.yaml',
    2,
    /catalog: is not in these settings, and `actions\.yaml` is not in their directory: name the file/,
  ],
  [
    'serve --config @settings-address.yaml',
    2,
    /grpc\.address: `"localhost"` has no port: write localhost:4700/,
  ],
  [
    'serve --config @settings-taken.yaml',
    2,
    /grpc\.address: cannot listen on `127.*another process listens there: stop it, or give another one by `grpc\.address` or POSTERN_GRPC_ADDRESS/,
  ],
  [
    'serve --config @settings-http.yaml',
    2,
    /http\.address: cannot listen on .* POSTERN_HTTP_ADDRESS/,
  ],
  ['serve --config @settings-lost.yaml', 2, /the directory `.*gone` does not exist: create it/],
  ['serve --config @settings-long.yaml', 2, /a unix socket takes at most 107/],
  ['migrate status --config @none', 2, /cannot be read: there is no such file/],
  ['init --tenant acme --admin a --config @none', 2, /cannot be read: there is no such file/],
];

describe('without a server', () => {
  it.concurrent.each(OFFLINE)('%s', async (line, code, told) => {
    expect(faultsOf(await postern(words(line)), code, told)).toEqual([]);
  });
});

/** The same with a server and without. */
const FILES_REFUSED: readonly (readonly [name: string, words: RegExp])[] = [
  ['none', /there is no such file/],
  ['directory', /it is a directory/],
  ['loop.yaml', /symbolic links lead back/],
  ['syntax.yaml', /:2:\d+: |:3:1: /],
  ['colons.yaml', /:1:\d+: a map starts on a line that already has a key/],
  ['tab.yaml', /:3:\d+: a tab indents here: use blanks/],
  ['twice.yaml', /:2:1: the key stands twice in one map: keep one/],
  ['two.yaml', /:2:1: a second document begins here \(`---`\)/],
  ['empty.yaml', /is not a map/],
  ['list.yaml', /is not a map/],
  ['latin.yaml', /not UTF-8/],
  ['unknown.yaml', /:2:1: user: unknown key `user`: did you mean `users`\?/],
  ['date.yaml', /no day of the calendar: that month has 28 days/],
  ['zone.yaml', /has no zone: write 2027-02-03T00:00:00Z/],
  ['broken.json', /broken\.json:1:\d+: /],
];

describe('a state file', () => {
  it.concurrent.each(FILES_REFUSED)('%s is malformed: 2', async (name, told) => {
    const apply = ['apply', '-f', at(name), '--dry-run'];
    const [off, on] = await Promise.all([
      postern([...apply, '--config', at('settings-ok.yaml')]),
      postern([...apply, '--tenant', 'acme'], online()),
    ]);
    for (const ran of [off, on]) {
      expect(ran.stderr).toMatch(told);
      expect(ran.stderr).not.toMatch(LIBRARY);
      expect([ran.code, ran.stdout]).toEqual([2, '']);
      expect(ran.stderr.trimEnd().split('\n').length).toBeLessThan(4);
    }
  });
});

it.concurrent.each([
  ['same.yaml', /user `a` is listed twice: keep one/],
  ['nobody.yaml', /`nobody`/],
] as const)('a state file that contradicts itself is refused: 1 (%s)', async (name, told) => {
  const apply = ['apply', '-f', at(name), '--dry-run', '--keep'];
  for (const ran of [
    await postern([...apply, '--config', at('settings-ok.yaml')]),
    await postern(apply, online()),
  ]) {
    expect(ran.stderr).toMatch(told);
    expect(ran.stderr).toContain(name);
    expect([ran.code, ran.stdout]).toEqual([1, '']);
  }
});

const ONLINE: readonly Wrong[] = [
  // Malformed: 2.
  ['grant create alice a..b read', 2, /path: `a\.\.b`/],
  ['grant create alice a raed', 2, /`raed`/],
  ['role create r --level 101', 2, /--level: `101` is not a whole number from 0 to 100/],
  ['role create r --permission kb', 2, /`kb`/],
  ['role grant-permission member kb', 2, /permissions\[0\]: `kb`/],
  ['user create ""', 2, /user\.id/],
  ['user create " a"', 2, /user\.id/],
  ['user batch -f @users.yaml', 2, /unknown key `emial`: did you mean `email`\?/],
  [
    'policy-set create -f @set.yaml',
    2,
    /`"alow"` is not one of allow, deny: did you mean `allow`\?/,
  ],
  ['policy-set create -f @action.yaml', 2, /did you mean `graph\.search`\?/],
  ['key create k --rate-limit 5', 2, /`5` is not a rate such as 100\/s/],
  ['key create k --expires-at 2001-01-01T00:00:00Z', 2, /has passed: give a later time/],
  ['check "" read a', 2, /subject/],
  ['check alice read a..b', 2, /a\.\.b/],
  ['--tenant "" user list', 2, /no tenant/],
  ['--token wrong-token user list', 2, /the credential is missing, unknown/],
  // Understood and refused: 1.
  ['user get nobody', 1, /there is no user `(user:)?nobody`/],
  ['role show nobody', 1, /there is no role `nobody`/],
  ['role delete member', 1, /system role/],
  ['role add-member member nobody', 1, /there is no user or role `nobody`/],
  ['tenant create acme', 1, /exists already/],
  ['--tenant other user list', 1, /there is no tenant `other`/],
  ['grant revoke user:nobody a', 1, /nobody/],
  ['policy-set get nothing', 1, /there is no policy set `nothing`/],
  ['key show nothing', 1, /there is no key `nothing`/],
  ['owner remove a', 1, /owner/],
  ['role create fresh --expected-revision 999', 1, /999 was expected/],
];

describe('with a server', () => {
  it.concurrent.each(ONLINE)('%s', async (line, code, told) => {
    expect(faultsOf(await postern(words(line), online()), code, told)).toEqual([]);
  });

  it.concurrent('near names are told, of what is there alone', async () => {
    for (const [line, told] of [
      ['role delete membr', 'did you mean `member`?'],
      ['role show ownr', 'there is no role `ownr`: did you mean `owner`?'],
      ['grant create role:gest a read', 'did you mean `guest`?'],
    ] as const)
      expect((await postern(words(line), online())).stderr).toContain(told);
    expect((await postern(words('role show nobody-at-all'), online())).stderr).not.toContain(
      'mean',
    );
    const checked = await postern(['check', 'alice', 'graph.serch'], online());
    expect([checked.code, checked.stderr]).toEqual([
      1,
      'note: `graph.serch`: did you mean `graph.search`?\n',
    ]);
  });

  it.concurrent('a denied check is 1, and says so on stdout', async () => {
    const ran = await postern(['check', 'alice', 'kb:read'], online());
    expect([ran.code, ran.stderr]).toEqual([1, '']);
    expect(ran.stdout).toContain('denied');
  });

  it.concurrent('TLS where there is none, and the wrong port, are told', async () => {
    expect(
      faultsOf(
        await postern(['user', 'list', '--tls'], online()),
        2,
        /does not speak TLS|where it asks for TLS/,
      ),
    ).toEqual([]);
    const http = { ...online(), POSTERN_ADDRESS: server.http };
    for (const line of ['user list', 'check alice read a'])
      expect(
        faultsOf(await postern(words(line), http), 2, /no answer|does not speak Postern's API/),
      ).toEqual([]);
    const other = { ...online(), POSTERN_ADDRESS: addressOf(mute) };
    expect(faultsOf(await postern(['user', 'list'], other), 2, /no answer|does not speak/)).toEqual(
      [],
    );
  });
});
