/** The audit records of management, and calls that answer only once theirs is kept (ADM-7). */
import { actorName } from '../admin/actor.ts';
import type { ManagementEvent } from '../admin/admin-contract.ts';
import { isListed } from '../admin/record-kinds.ts';
import { Refused } from '../admin/refused.ts';
import type { Redact } from '../audit/record/redact.ts';
import type { AuditLog } from '../audit/log.ts';
import {
  authenticationLine,
  managementLine,
  type RecordEvent,
} from '../audit/record/management-record.ts';
import type { CredentialProblem } from '../engine/credential-problem.ts';
import { storedIdProblem } from '../engine/id.ts';

const NOT_KEPT =
  'the audit log has not kept the record of this operation yet: look whether it was done before you retry, or retry with its idempotency key';
/** How long an operation waits for an audit log that takes no records, ms. */
const AUDIT_WAIT_MS = 5_000;

export interface RecorderOptions {
  readonly log: AuditLog;
  /** What records leave out; `undefined`: nothing. */
  readonly redact: Redact | undefined;
  /** Seals the text of a management record with that of the one before it. */
  readonly seal: (body: string) => string;
}

export class ManagementRecorder {
  readonly #log: AuditLog;
  readonly #redact: Redact | undefined;
  readonly #seal: (body: string) => string;

  constructor({ log, redact, seal }: RecorderOptions) {
    this.#log = log;
    this.#redact = redact;
    this.#seal = seal;
  }

  operation(event: ManagementEvent): void {
    const { actor, tenant, differences, moreDifferences = 0, ...rest } = event;
    const content = {
      ...rest,
      tenant: nameOrNone(tenant),
      actor: actorName(actor),
      via: actor.via,
      keyId: actor.keyId,
      changes: differences.filter(isListed),
      moreChanges: moreDifferences,
    };
    // Its chain salts it.
    this.#write((about) =>
      this.#seal(managementLine(content, { ...about, salt: undefined }, this.#redact)),
    );
  }

  /** A caller that is not let in. */
  authentication(refusal: {
    readonly tenant: string;
    readonly why: string;
    readonly problem?: CredentialProblem;
  }): void {
    const { tenant } = refusal;
    this.#write((about) =>
      authenticationLine({ ...refusal, tenant: nameOrNone(tenant) }, about, this.#redact),
    );
  }

  /**
   * Runs what may be recorded, and answers once its records are kept.
   * @throws Refused UNAVAILABLE where the log takes no records, with nothing done, or has not kept them in time
   */
  async keeping<T>(run: () => Promise<T>): Promise<T> {
    await this.#mustTakeRecords();
    const [done] = await Promise.allSettled([run()]);
    if ((await this.#log.settled()) === false) throw new Refused('unavailable', NOT_KEPT);
    if (done.status === 'rejected') throw done.reason;
    return done.value;
  }

  async #mustTakeRecords(): Promise<void> {
    const log = this.#log;
    const deadline = performance.now() + AUDIT_WAIT_MS;
    while (!log.isOpen())
      if (!(await log.whenOpen(Math.max(1, deadline - performance.now()))))
        throw new Refused(
          'unavailable',
          'the audit log takes no records, and nothing was done: retry once its sink is back',
        );
  }

  #write(lineOf: (event: RecordEvent) => string): void {
    if (!this.#log.isOn) return;
    const { instance } = this.#log;
    const time = new Date().toISOString();
    const id = this.#log.nextId();
    void this.#log.write((seq, salt) => lineOf({ time, instance, id, seq, salt }));
  }
}

/** What is no tenant's name may be anything, and of any length: it is not repeated. */
function nameOrNone(tenant: string): string {
  return storedIdProblem(tenant) === undefined ? tenant : '';
}
