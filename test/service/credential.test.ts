/** How the service comes from a credential to whom it proves: a credential is identified once a call, whoever does it. */
import { expect, it, vi } from 'vitest';
import { openLog } from '../../src/audit/log.ts';
import { parseSource } from '../../src/config/document.ts';
import { parseRoutes } from '../../src/config/routes.ts';
import { openIdentity, type Identity } from '../../src/identity/identity.ts';
import { openRateLimits } from '../../src/identity/rate.ts';
import { mintKey } from '../../src/identity/token.ts';
import type { Service } from '../../src/service/calls.ts';
import { createService } from '../../src/service/service.ts';
import { Writer } from '../../src/transport/codec/wire.ts';
import { compile, extAuthzMethod } from '../../src/transport/ext-authz/methods.ts';
import { openMemoryStore } from '../support/memory-store.ts';
import { CATALOG, key, openRoom, put, role, user } from '../support/records.ts';

const ROUTES = `
identity: [{ bearer: authorization }]
routes:
  - { match: { methods: [GET], path: /docs }, tenant: '{credential.tenant}', action: doc:read }
`;
const nothing = (): void => {};

/** A service whose tenant `t` has a key for alice, who may read documents. */
async function stand() {
  const store = openMemoryStore();
  const facts = openRoom(store);
  const { token, hash } = mintKey('t', 'agent');
  await put(
    store,
    't',
    user('alice', { roles: ['reader'] }),
    role('reader', ['doc:read']),
    key('agent', { role: 'default_allow', user: 'alice', secrets: [{ hash }] }),
  );
  const identity = openIdentity({ now: Date.now });
  const identify = vi.fn<Identity['identify']>((credential) => identity.identify(credential));
  const service = createService({
    facts,
    metrics: { decision: nothing, notAudited: nothing, shadow: nothing, filtered: nothing },
    log: openLog('test', [], 1),
    redact: undefined,
    sampling: undefined,
    limits: { attributes: 8, valuesPerAttribute: 8 },
    identity: { identify },
    rateLimits: openRateLimits({ now: Date.now }),
    filterObjectCost: 1,
    usage: { used: nothing },
    onCredential: nothing,
    onError(error): never {
      throw error;
    },
  });
  return { facts, identify, service, token };
}

/** Envoy's message for `GET /docs` with a bearer token. */
function envoyRequest(token: string): Buffer {
  const writer = new Writer();
  writer.message(1, () =>
    writer.message(4, () =>
      writer.message(2, () => {
        writer.string(2, 'GET');
        writer.message(3, () => {
          writer.string(1, 'authorization');
          writer.string(2, `Bearer ${token}`);
        });
        writer.string(4, '/docs');
        writer.string(5, 'api.example.com');
      }),
    ),
  );
  return writer.finish();
}

const check = (service: Service, token: string) =>
  service.check(
    {
      id: '',
      request: {
        tenant: 't',
        subject: undefined,
        keyId: undefined,
        action: 'doc:read',
        resource: { type: 'doc', id: 'd', path: undefined, attributes: new Map(), sources: [] },
      },
      credential: { apiKey: token },
      context: undefined,
      minRevision: 0,
    },
    'check',
    1_000,
  );

it('identifies the credential of a check once', async () => {
  const { facts, identify, service, token } = await stand();
  expect(await check(service, token)).toMatchObject({ decision: { reason: 'ALLOWED' } });
  expect(identify).toHaveBeenCalledTimes(1);
  facts.close();
});

it('identifies the credential of a request of Envoy once, also where the route takes its tenant from it', async () => {
  const { facts, identify, service, token } = await stand();
  const routes = compile(parseRoutes(parseSource('routes.yaml', ROUTES), CATALOG));
  const method = extAuthzMethod({ service, routes: () => routes, identify });
  expect((await method(envoyRequest(token), 1_000)).toString('latin1')).toContain('user:alice');
  expect(identify).toHaveBeenCalledTimes(1);
  const forged = `${token.slice(0, -4)}AAAA`;
  expect((await method(envoyRequest(forged), 1_000)).toString('latin1')).toContain('KEY_INVALID');
  expect(identify).toHaveBeenCalledTimes(2);
  facts.close();
});
