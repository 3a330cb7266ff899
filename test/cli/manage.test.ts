/** The management commands on a running server: the published examples of the four models as they are written. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { postern, serve, type Ran, type Serving } from '../support/process.ts';
import { PACKAGE_ROOT } from '../support/package-root.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const TOKEN = 'operator-token-of-this-test-0123456789';
const directory = temporaryDirectory();
let server: Serving;
beforeAll(async () => {
  server = await serve([], {
    settings: [
      `catalog: ${join(PACKAGE_ROOT, 'config/actions.yaml')}`,
      `default_roles: ${join(PACKAGE_ROOT, 'config/roles.yaml')}`,
      'store: embedded:store',
      'audit: { sinks: [{ type: file, path: audit.jsonl }] }',
      '',
    ].join('\n'),
    environment: { POSTERN_ADMIN_TOKEN: TOKEN },
  });
  await ok('tenant create acme --owner olivia');
});
afterAll(() => server.dispose());

/** One line of a shell: words, and texts in quotes. */
function words(line: string): string[] {
  return [...line.matchAll(/"([^"]*)"|(\S+)/g)].map((match) => match[1] ?? match[2] ?? '');
}

function run(line: string, token = TOKEN): Promise<Ran> {
  return postern(words(line), {
    ...server.environment,
    POSTERN_ADMIN_TOKEN: '',
    POSTERN_TOKEN: token,
    POSTERN_TENANT: 'acme',
  });
}

async function ok(line: string, token?: string): Promise<string> {
  const ran = await run(line, token);
  expect(`${line}: ${ran.code} ${ran.stderr}`).toMatch(/: 0 /);
  return ran.stdout;
}

/** A command that is refused, and the words of the refusal. */
async function refused(line: string, code = 1): Promise<string> {
  const ran = await run(line);
  expect(`${line}: ${ran.code}`).toBe(`${line}: ${code}`);
  return ran.stderr;
}

describe('the team set-up with tree grants', () => {
  it('creates users, a role, and grants by branch', async () => {
    for (const line of [
      'user create alice',
      'user create bob',
      'user create carol',
      'role create team',
      'role add-member team alice',
      'role add-member team bob',
      'role add-member team carol',
      'grant create team "" read',
      'grant create alice work.frontend read write create',
      'grant create bob work.backend read write create',
      'grant create carol work.infra read write create delete admin',
    ])
      expect(await ok(line)).toMatch(/\(revision \d+\)/);
    expect(await ok('grant check alice work.projects.api read')).toBe(
      "read on 'work.projects.api': allowed\n",
    );
    const denied = await run('grant check alice work.backend write');
    expect([denied.code, denied.stdout]).toEqual([1, "write on 'work.backend': denied\n"]);
    expect(await ok('check carol delete work.infra.db')).toContain('allowed');
  });

  it('creates a user without login as a role that members inherit from', async () => {
    expect(await ok('user create engineering --no-login')).toContain('role engineering');
    await ok('role add-member engineering alice');
    await ok('role add-member engineering bob');
    await ok('grant create engineering work.projects read write create');
    expect(await ok('grant check bob work.projects.api write')).toContain('allowed');
    expect(await ok('role members engineering')).toMatch(/alice[^]*bob/);
  });

  it('passes grants on by the grant option, and takes them back with all that followed (ADM-2, ADM-3)', async () => {
    await ok('grant create alice work.shared read write --with-grant-option');
    await ok('--as alice grant create bob work.shared.docs read');
    expect(await refused('--as bob grant create carol work.shared.docs read')).toContain('(ADM-2)');
    expect(await ok('--as alice grant list alice')).toContain('work.shared');
    const revoked = await ok('grant revoke alice work.shared');
    expect(revoked).toMatch(/revoked by cascade:[^]*bob[^]*work\.shared\.docs/);
    expect((await run('grant revoke alice work.shared')).code).toBe(1);
  });

  it('adds to rows, states them anew, and takes what is there (TREE-3)', async () => {
    await ok('grant create alice work.rows read --with-grant-option');
    await ok('grant create alice work.rows write create');
    expect(await ok('grant list alice --path work.rows')).toMatch(
      /read write create\s+operator\s+read\n/,
    );
    expect(await ok('grant create alice work.rows read write --replace')).toContain(
      'create is removed, the option for read is removed',
    );
    await ok('grant create alice work.rows write --grant-option-for write');
    expect(await ok('grant revoke alice work.rows write --grant-option-only')).toContain(
      'the grant option for write on',
    );
    await ok('--as alice grant list alice');
    await ok('grant create alice work write');
    const revoked = await ok('grant revoke alice work.rows write delete');
    expect(revoked).toContain('not there to be revoked: delete');
    expect(revoked).toContain(
      "alice still has write on 'work.rows' by the grant of user:alice on 'work' from operator",
    );
    await ok('grant revoke alice work.rows --all-grantors');
    expect(await refused('grant revoke alice work.rows --all-grantors --grantor bob', 2)).toContain(
      'all_grantors',
    );
  });

  it('lists the ownerships that fall with a grant (ADM-2, ADM-3)', async () => {
    await ok('grant create bob work.led read write create delete admin');
    expect(await refused('--as bob owner set work.led.x bob')).toContain('make itself the owner');
    await ok('--as bob owner set work.led.x alice');
    expect(await ok('owner list --path work.led')).toMatch(/work\.led\.x\s+user:alice\s+user:bob/);
    expect(await ok('grant revoke bob work.led')).toMatch(
      /revoked by cascade:[^]*work\.led\.x\s+user:alice\s+user:bob/,
    );
  });

  it('sets, shows and lists owners', async () => {
    await ok('owner set work.projects.api alice');
    expect(await ok('owner get work.projects.api')).toContain('alice');
    expect(await ok('owner list')).toMatch(/work\.projects\.api\s+user:alice/);
    expect(await ok('--as alice grant create carol work.projects.api.v2 delete')).toContain(
      'delete',
    );
    expect(await ok('owner remove work.projects.api --dry-run')).toMatch(/dry run/);
    expect(await ok('owner get work.projects.api')).toContain('alice');
    expect(await ok('owner remove work.projects.api')).toContain('revoked by cascade');
    expect(await refused('owner get work.projects.api')).toContain('has no owner');
  });
});

describe('users with metadata', () => {
  it('creates, reads, updates, finds and deletes them', async () => {
    await ok(
      'user create dev1 --external-id user123 --email user@example.com --type developerUser --metadata-entry name=John --metadata-entry team=Engineering',
    );
    const read = JSON.parse(await ok('user get dev1 -o json')) as { user: object };
    expect(read.user).toMatchObject({
      external_id: 'user123',
      type: 'developerUser',
      metadata: { name: 'John', team: 'Engineering' },
    });
    await ok('user update dev1 --email updated.user@example.com');
    expect(await ok('user list --email Updated.User@example.com')).toContain('dev1');
    expect(await ok('user list --external-id user123')).toContain('dev1');
    expect(await ok('user delete dev1')).toContain('deleted');
    expect(await refused('user get dev1')).toContain('is deleted');
    expect(await ok('user list')).not.toContain('dev1');
  });
});

describe('roles with permissions and levels', () => {
  it('creates a custom role under the level of whoever does (ADM-5)', async () => {
    await ok('user create manager');
    await ok('role add-member admin manager');
    await ok(
      '--as manager role create content_manager --level 50 --permission kb:read --permission kb:write',
    );
    expect(await ok('role show content_manager')).toMatch(/50[^]*kb:write/);
    expect(await refused('--as manager role create boss --level 80')).toContain('(ADM-5)');
    expect(await refused('role delete owner')).toContain('(RBAC-4)');
  });
});

describe('policy sets and keys', () => {
  it('rolls a set out from validation to enforcement, and explains the key', async () => {
    const file = join(directory, 'read-only.yaml');
    writeFileSync(
      file,
      'policy_set:\n  name: read-only\n  mode: enforce\n  rules:\n    - { id: reads, description: no writes, effect: allow, actions: [readonly] }\n',
    );
    expect(await ok(`policy-set validate -f ${file}`)).toBeDefined();
    await ok(`policy-set create -f ${file}`);
    const made = await ok('key create agent-1 --role default_deny --mode report_only');
    const secret = made.trimEnd().split('\n').at(-1) ?? '';
    expect(secret).toMatch(/^pstk\./);
    await ok('key attach agent-1 read-only');
    expect((await run('key explain agent-1 --action graph.search')).code).toBe(1);
    await ok('key set agent-1 --mode enforce');
    expect(await ok('key explain agent-1 --action graph.search')).toContain('allowed');
    expect(await ok('key explain agent-1 --action kb:read')).toContain('allowed');
    expect((await run('key explain agent-1 --action user.delete')).code).toBe(1);
    expect(await ok('key show agent-1')).toContain('read');
    expect(parse(await ok('policy-set get read-only'))).toMatchObject({
      policy_set: { rules: [{ id: 'reads', description: 'no writes' }] },
    });
    const broken = join(directory, 'broken.yaml');
    writeFileSync(broken, readFileSync(file, 'utf8').replace('readonly', 'graph.serach'));
    expect(await refused(`policy-set update -f ${broken}`, 2)).toMatch(
      /broken\.yaml:\d+:\d+:.*graph\.serach.*did you mean.*graph\.search/,
    );
    const rotated = await ok('key rotate agent-1 --overlap 1h');
    expect(rotated.trimEnd().split('\n').at(-1)).not.toBe(secret);
    await ok('key detach agent-1 read-only');
    await ok('key revoke agent-1');
    expect(await refused('key set agent-1 --mode off')).toContain('is revoked for good');
    for (const text of [
      await ok('key list -o json'),
      await ok('export'),
      readFileSync(join(server.directory, 'audit.jsonl'), 'utf8'),
    ])
      expect(text).not.toContain(secret.split('.').at(-1));
  });
});

describe('credentials', () => {
  it('a session token manages with its user’s authority, and ends', async () => {
    const made = await ok('session create olivia --ttl 1h');
    const token = made.trimEnd().split('\n').at(-1) ?? '';
    expect(await ok('user create made-by-olivia', token)).toContain('created');
    await ok('session revoke olivia');
    const after = await run('user list', token);
    expect([after.code, after.stderr]).toEqual([2, expect.stringContaining('credential')]);
  });

  it('says what is missing where nothing proves who asks', async () => {
    const none = await run('user list', '');
    expect([none.code, none.stderr]).toEqual([2, expect.stringContaining('POSTERN_TOKEN')]);
  });
});

describe('a whole state over the server', () => {
  it('is exported, and applied again without a change; dry runs tell and do nothing', async () => {
    const file = join(directory, 'state.yaml');
    writeFileSync(file, await ok('export'));
    expect(await ok(`apply -f ${file}`)).toContain('nothing changes');
    const state = parse(readFileSync(file, 'utf8')) as { users: object[] };
    state.users.push({ id: 'zoe' });
    writeFileSync(join(directory, 'more.json'), JSON.stringify(state));
    expect(await ok(`apply -f ${join(directory, 'more.json')} --dry-run`)).toMatch(
      /\+\s+user\s+zoe/,
    );
    expect(await refused('user get zoe')).toContain('there is no user');
    await ok(`apply -f ${join(directory, 'more.json')}`);
    expect(await ok('user get zoe')).toContain('zoe');
    expect(await refused(`--as alice apply -f ${file}`)).toContain('(ADM-5)');
  });

  it('tells the tenant’s commits', async () => {
    expect(await ok('changes list --limit 3')).toMatch(/tenant\.create/);
  });
});

describe('what a write prints', () => {
  it('is the facts that changed, in every format', async () => {
    await ok('role create reviewers --level 20 --permission kb:read');
    expect(await ok('role grant-permission reviewers kb:write thread:read')).toMatch(
      /^\+ permission kb:write, thread:read of role:reviewers\nkb:write, thread:read granted to role reviewers \(revision \d+\)\n$/,
    );
    expect(await ok('role revoke-permission role:reviewers kb:read --dry-run')).toMatch(
      /^- permission kb:read of role:reviewers\nkb:read would be revoked from role reviewers \(revision \d+, dry run\)\n$/,
    );
    const json = JSON.parse(await ok('role update reviewers --level 30 -o json')) as {
      result: { facts: unknown };
    };
    expect(json.result.facts).toEqual([
      {
        change: 'change',
        fact: 'level',
        of: 'role:reviewers',
        path: '',
        before: ['20'],
        after: ['30'],
        text: 'level 20 → 30 of role:reviewers',
      },
    ]);
    expect(parse(await ok('role update reviewers --level 20 -o yaml'))).toMatchObject({
      result: { facts: [{ text: 'level 30 → 20 of role:reviewers' }] },
    });
    expect(await refused('role revoke-permission reviewers no:such')).toContain(
      'role `reviewers` carries none of no:such',
    );
  });

  it('names each of several members, and takes all or none', async () => {
    for (const id of ['m1', 'm2', 'm3']) await ok(`user create ${id}`);
    expect(await ok('role add-member reviewers m1 m2 user:m3')).toMatch(
      /^\+ member m1 of role:reviewers\n\+ member m2 of role:reviewers\n\+ member m3 of role:reviewers\nm1, m2, user:m3 added to role reviewers \(revision \d+\)\n$/,
    );
    expect(await refused('role remove-member reviewers m1 nobody')).toContain('nobody');
    expect(await ok('role members reviewers')).toMatch(/m1[^]*m2[^]*m3/);
    expect(await ok('role remove-member reviewers m1 m2 m3')).toMatch(/^- member m1[^]*m3/);
    await ok('workspace create ws');
    expect(await ok('workspace add-member ws m1 m2')).toContain('+ member m2 of workspace:ws');
  });

  it('of a policy set whose mode alone changes', async () => {
    const file = join(directory, 'moded.yaml');
    writeFileSync(
      file,
      'policy_set: { name: moded, mode: report_only, rules: [{ id: d, effect: deny, actions: [user.delete] }] }\n',
    );
    await ok(`policy-set create -f ${file}`);
    expect(await ok('policy-set set moded --mode enforce')).toMatch(
      /^~ mode report_only → enforce of policy_set:moded\n~ version 1 → 2 of policy_set:moded\npolicy set moded version 2 updated/,
    );
    expect(await refused('policy-set set moded', 2)).toContain('give --mode or --description');
    expect(await refused('policy-set set moded --mode on', 2)).toContain('off, report_only');
  });

  it('of a state is bounded: counts, or each fact with --verbose', async () => {
    const state = {
      tenant: 'bulk',
      users: Array.from({ length: 600 }, (_, index) => ({ id: `u${index}`, roles: ['member'] })),
    };
    const file = join(directory, 'bulk.json');
    writeFileSync(file, JSON.stringify(state));
    await ok('tenant create bulk');
    expect(await ok(`--tenant bulk apply -f ${file} --dry-run`)).toMatch(
      /^\+ +600 +user\n\+ +600 +member\n\(--verbose lists each fact\)\nstate of bulk would be applied/,
    );
    const all = await ok(`--tenant bulk apply -f ${file} --verbose`);
    expect(all.match(/^\+ member u\d+ of role:member$/gm)).toHaveLength(600);
    expect(await ok(`--tenant bulk apply -f ${file}`)).toMatch(/^state of bulk applied.*nothing/);
  });
});

describe('tenant delete (ADM-9)', () => {
  it('asks for the name twice, counts what it removes, and goes by that name no more', async () => {
    await ok('tenant create scratch --owner sam');
    await ok('--tenant scratch user create pat');
    expect(await refused('tenant delete scratch', 2)).toContain('--confirm');
    expect(await refused('tenant delete scratch --confirm acme', 2)).toMatch(/confirm.*`scratch`/);
    expect(await ok('tenant delete scratch --confirm scratch --dry-run')).toMatch(
      /tenant scratch would be deleted: records to remove: 2 user, .*dry run/,
    );
    expect(await ok('--tenant scratch user get pat')).toContain('pat');
    const done = await ok('tenant delete scratch --confirm scratch');
    expect(done).toMatch(/^- tenant scratch\n/);
    expect(done).toMatch(/tenant scratch deleted: records removed: 2 user, .*4 role/);
    for (const line of [
      'tenant create scratch',
      'tenant show scratch',
      '--tenant scratch user get pat',
      '--tenant scratch user create pat',
      '--tenant scratch export',
    ])
      expect(await refused(line), line).toContain('tenant `scratch` was deleted by `operator`');
    expect(await ok('tenant list')).toMatch(/^scratch .*yes/m);
    expect(await ok('--tenant scratch changes list')).toContain('tenant.delete');
    expect(await ok('tenant delete scratch --confirm scratch')).toContain('records removed: none');
    expect(await ok('tenant show acme')).toContain('acme');
    const records = readFileSync(join(server.directory, 'audit.jsonl'), 'utf8');
    expect(records).toMatch(/"operation":"tenant.delete".*"allowed":true/);
    expect(records).toMatch(/"operation":"tenant.remove_records".*"removed":\{.*"user":2/);
  });
});
