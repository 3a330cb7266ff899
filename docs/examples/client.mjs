// A service that asks Postern: one Check before it acts, one Filter over what a search found.
//   node docs/examples/client.mjs [address]
import { fileURLToPath } from 'node:url';
import grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

const definition = loadSync('postern/v1/authorization.proto', {
  includeDirs: [fileURLToPath(new URL('../../proto', import.meta.url))],
  keepCase: true,
  longs: String,
  enums: String,
  defaults: true,
});
const { AuthorizationService } = grpc.loadPackageDefinition(definition).postern.v1;
const address = process.argv[2] ?? process.env.POSTERN_ADDRESS ?? '127.0.0.1:4700';
const client = new AuthorizationService(address, grpc.credentials.createInsecure());

/** One call with a deadline. A service that hears nothing in time must treat it as a deny. */
function ask(method, request, timeoutMs = 1000) {
  return new Promise((done, failed) => {
    client[method](request, { deadline: Date.now() + timeoutMs }, (error, answer) =>
      error ? failed(error) : done(answer),
    );
  });
}

/** What the service itself answers (docs/concepts.md, Reasons). */
const HTTP_STATUS = {
  REASON_ALLOWED: 200,
  REASON_OBJECT_HIDDEN: 404,
  REASON_KEY_INVALID: 401,
  REASON_STALE: 503,
};

const text = (value) => ({ stringValue: value });

try {
  for (const action of ['read', 'delete']) {
    const answer = await ask('Check', {
      tenant: 'demo',
      subject: { id: 'alice' },
      action,
      resource: { path: 'work.projects.api' },
    });
    const status = HTTP_STATUS[answer.reason] ?? 403;
    console.log(`alice ${action}: ${status} ${answer.reason}: ${answer.detail}`);
  }

  const found = [
    { type: 'graph', id: 'n1', attributes: { tenant: text('acme') } },
    { type: 'graph', id: 'n2', attributes: { tenant: text('globex') } },
    { type: 'graph', id: 'n3', attributes: { tenant: text('acme') } },
  ];
  const page = await ask('Filter', {
    tenant: 'demo',
    key_id: 'acme-agent',
    action: 'graph.search',
    objects: found,
  });
  console.log(
    page.action_allowed
      ? `acme-agent sees ${page.allowed_ids.join(', ')}`
      : `acme-agent may not search: ${page.reason}`,
  );
} catch (error) {
  // UNAVAILABLE, DEADLINE_EXCEEDED, INTERNAL: no decision, so no.
  console.error(`503 no decision: ${error.details}`);
  process.exitCode = 1;
} finally {
  client.close();
}
