/** The options that say which audit records are shown. */
import { Option, type Command } from 'commander';
import { APIS } from '../../audit/fields.ts';
import { MODES } from '../../engine/model.ts';
import type { Filter } from '../../audit/logs/record-filter.ts';
import type { Range } from '../../audit/logs/log-source.ts';

export interface FilterFlags {
  /** Of all commands. */
  readonly tenant?: string;
  readonly withUnattributed?: boolean;
  readonly outcome?: 'allowed' | 'denied';
  readonly mode?: string;
  readonly key?: string;
  readonly subject?: string;
  readonly action?: string;
  readonly type?: string;
  readonly reason?: string;
  readonly api?: string;
  readonly differs?: boolean;
  readonly requestId?: string;
  readonly decisionId?: string;
}

/** Adds the options. */
export function filtering(command: Command): Command {
  return command
    .optionsGroup('Records that have all of this (and the tenant of --tenant):')
    .option(
      '--with-unattributed',
      'with --tenant: also records without a tenant, such as refusals of unknown callers',
    )
    .addOption(new Option('--outcome <outcome>', 'the answer').choices(['allowed', 'denied']))
    .addOption(
      new Option('--type <type>', 'the type of record').choices([
        'decision',
        'management',
        'authentication',
        'seal',
      ]),
    )
    .option('--subject <principal>', 'the subject or actor: user:alice, or alice')
    .option('--key <id>', 'the API key')
    .addOption(new Option('--mode <mode>', 'the mode of that key').choices(MODES))
    .option(
      '--action <glob>',
      'the action, or the operation of a change; * matches any text: graph.*, *:read, user.*',
    )
    .addOption(new Option('--api <api>', 'the API of the request').choices(APIS))
    .option('--reason <reason>', 'the reason: NO_GRANT, ACTION_DENIED …')
    .option('--differs', 'only records whose answer full enforcement would change')
    .option('--request-id <id>', 'the request id of the caller')
    .option('--decision-id <id>', 'the decision id of the answer');
}

export function filterOf(flags: FilterFlags, range: Range): Filter {
  const { subject } = flags;
  return {
    tenant: flags.tenant,
    type: flags.type,
    api: flags.api,
    outcome: flags.outcome,
    reason: flags.reason,
    mode: flags.mode,
    key: flags.key,
    subject: subject === undefined ? undefined : principalName(subject),
    action: flags.action,
    requestId: flags.requestId,
    decisionId: flags.decisionId,
    differs: flags.differs === true,
    range,
  };
}

/** As records name principals: `alice` is `user:alice`; the operator has no type. */
function principalName(given: string): string {
  return given === 'operator' || /^(user|role|workspace):/.test(given) ? given : `user:${given}`;
}
