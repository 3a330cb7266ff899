/** The audit log of a server: how it is opened, and what is logged of it when it ends. */
import type { Logger } from 'pino';
import { compileRedaction, type Redact } from '../audit/record/redact.ts';
import type { AuditLog } from '../audit/log.ts';
import { openAuditLog, readKey } from '../audit/open.ts';
import type { Settings } from '../config/settings/settings-schema.ts';
import { errorLogger } from './loggers.ts';
import type { ServerOptions } from './running.ts';
import type { Shutdown } from './shutdown.ts';

export class ServerAudit {
  readonly log: AuditLog;
  #lost = 0;

  constructor(log: AuditLog) {
    this.log = log;
  }

  /** Records that were lost when it was closed. */
  get lostRecords(): number {
    return this.#lost;
  }

  /** Flushes it, and logs what became of the last records. */
  async close(shutdown: Shutdown, log: Logger): Promise<void> {
    // What no sink takes in this time goes to its spool, which takes time, too.
    const spoolMs = shutdown.flushMs() / 2;
    this.#lost = await this.log.close(Math.max(shutdown.leftMs() - spoolMs, spoolMs));
    const lastSeq = this.log.lastSeq();
    if (lastSeq > 0)
      log.info({ instance: this.log.instance, last_seq: lastSeq }, 'the audit log is closed');
    for (const sink of this.log.sinks) {
      const { dropped, spooled } = sink.stats();
      if (dropped > 0) log.error({ sink: sink.name, dropped }, 'audit records were lost');
      if (spooled > 0)
        log.warn(
          { sink: sink.name, spooled },
          'audit records wait in the spool for the next start',
        );
    }
  }
}

/** @throws Error where a sink cannot be opened, or a key cannot be read */
export async function openServerAudit(
  { settings, worker }: ServerOptions,
  log: Logger,
): Promise<ServerAudit> {
  const { audit } = settings;
  const opened = await openAuditLog({
    sinks: audit.sinks,
    worker,
    workers: settings.workers,
    store: settings.store,
    redis: settings.redis,
    seals: {
      key: readKey('audit.chain_key_file', audit.chain_key_file),
      records: audit.seal_records,
      ms: audit.seal_ms,
    },
    maxWaiting: settings.limits.waiting_calls,
    onError: (sink) => errorLogger(log.child({ sink }), 'an audit sink fails: it is tried again'),
    onInfo: (sink) => (message) => log.info({ sink }, message),
  });
  return new ServerAudit(opened);
}

/** What is left out of records, or hashed, by the settings. @throws Error where the key cannot be read */
export function openRedaction({ audit }: Settings): Redact | undefined {
  return compileRedaction({
    attributes: audit.attributes,
    rules: audit.fields,
    hashKey: readKey('audit.hash_key_file', audit.hash_key_file),
  });
}
