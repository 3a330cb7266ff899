/** Whole tenants: applied, applied again without a change, exported, deleted. */
import { apply, call, stream } from './admin-client.ts';
import type { LimitCall } from './limit-call.ts';

const USERS = 50_000;
const shown = USERS.toLocaleString('en');
const SMALL = 20_000;

/** @param version differs where the state is to differ */
function state(tenant: string, users: number, version = 0): string {
  const lines = Array.from(
    { length: users },
    (_, at) => `  - { id: "user-${at}", email: "u${at}-${version}@example.com", roles: [staff] }`,
  );
  const grants = Array.from(
    { length: users / 10 },
    (_, at) => `  - { principal: "user:user-${at}", path: "p.x${at}", actions: [read] }`,
  );
  return `tenant: ${tenant}\nusers:\n${lines.join('\n')}\nroles:\n  - { id: staff, level: 1 }\ngrants:\n${grants.join('\n')}\n`;
}

async function applied(address: string, tenant: string, text: string): Promise<void> {
  const answer = await apply(address, { tenant, prune: true }, text);
  if (answer['revision'] === undefined)
    throw new Error(`Apply of ${tenant}: ${JSON.stringify(answer).slice(0, 500)}`);
}

export function stateCalls(): LimitCall[] {
  return [
    {
      rpc: 'Apply',
      what: `${shown} users, a new tenant`,
      prepare: (_client, address) =>
        Promise.resolve({
          run: (run) => applied(address, `new${run}`, state(`new${run}`, USERS)),
          count: 2,
        }),
    },
    {
      rpc: 'Apply',
      what: `${shown} users, of whom none has changed`,
      prepare: (_client, address) =>
        Promise.resolve({
          run: () => applied(address, 'new0', state('new0', USERS)),
          count: 2,
        }),
    },
    {
      rpc: 'Apply',
      what: `${shown} users, of whom all have changed`,
      prepare: (_client, address) =>
        Promise.resolve({
          run: (run) => applied(address, 'new0', state('new0', USERS, run + 1)),
          count: 2,
        }),
    },
    {
      rpc: 'Export',
      what: `${shown} users`,
      prepare: (_client, address) =>
        Promise.resolve({
          before: (run) =>
            run === 0 ? applied(address, 'new0', state('new0', USERS)) : Promise.resolve(),
          async run(): Promise<void> {
            await stream(address, 'Export', { tenant: 'new0' });
          },
          count: 3,
        }),
    },
    {
      rpc: 'DeleteTenant',
      what: `${SMALL.toLocaleString('en')} users`,
      prepare: (_client, address) =>
        Promise.resolve({
          before: (run) => applied(address, `gone${run}`, state(`gone${run}`, SMALL)),
          async run(run): Promise<void> {
            const tenant = `gone${run}`;
            const answer = await call(address, 'DeleteTenant', { tenant, confirm: tenant });
            if (answer['revision'] === undefined)
              throw new Error(`DeleteTenant: ${JSON.stringify(answer).slice(0, 500)}`);
          },
          count: 2,
        }),
    },
  ];
}
