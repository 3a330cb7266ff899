/** One of several processes that decide. It does what the process says that started it, and what signals say. */
import { startServer, type Running, type ServerOptions } from '../../server/compose.ts';
import type { FromWorker, ReportName, ToWorker } from '../../server/worker-messages.ts';
import { tellFailure } from '../kit/failure.ts';
import { EXIT } from '../kit/output.ts';
import { tendMemory } from './release-memory.ts';
import { endAtOnce, endWithin, LATE, stopSignal, withoutInspector } from './signals.ts';

let running: Running | undefined;
/** While it starts, files may have been read that are no more in force. */
let reload = false;

async function start(options: ServerOptions): Promise<never> {
  try {
    running = await startServer(options);
  } catch (error) {
    process.exit(tellFailure(error));
  }
  if (reload) running.reload();
  const stopping = stopSignal();
  onServing();
  tendMemory(running);
  const { addresses, tenants, waiting, log } = running;
  send({ started: { grpc: addresses.grpc, tenants, waiting } });
  const signal = await stopping;
  log.info({ signal }, 'closing: calls in flight finish');
  const { lame_duck_ms: lameDuckMs, grace_ms: graceMs } = options.settings.shutdown;
  endWithin(lameDuckMs + graceMs, () => log.fatal(LATE));
  await running.close();
  // The channel to the primary would keep it alive.
  process.exit(running.lostRecords() === 0 ? EXIT.ok : EXIT.refused);
}

async function sendReport(id: number, what: ReportName, server: Running): Promise<void> {
  send({ id, report: what === 'readiness' ? server.readiness() : await server.snapshot() });
}

function send(message: FromWorker): void {
  process.send?.(message);
}

withoutInspector();
const onServing = endAtOnce();
// That of a terminal which closes comes to all processes; the primary says when to reload.
process.on('SIGHUP', () => {});
process.on('message', (message: ToWorker) => {
  switch (message.do) {
    case 'start':
      void start(message.options);
      return;
    case 'report':
      void (running && sendReport(message.id, message.what, running));
      return;
    case 'reload':
      if (running === undefined) reload = true;
      else running.reload();
  }
});
send('listening');
