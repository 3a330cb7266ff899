/** `postern key explain`: what the action layer says of a key, action by action. */
import { suggest } from '../../config/problem.ts';
import { CliError, EXIT, paint, print, visible, type Format } from '../kit/output.ts';
import { listing, yes } from '../kit/results.ts';

/** What a key may do with one action. */
export interface ActionCapability {
  readonly action: string;
  readonly readonly: boolean;
  readonly allowed: boolean;
  readonly constrained: boolean;
  readonly rule: string;
  readonly allowed_enforced: boolean;
}

interface Explained {
  readonly revision: string;
  readonly id: string;
  readonly actions: readonly ActionCapability[];
}

/** Exit code 1: the one action that was asked for is denied. */
export function explainKey(
  output: Format,
  { revision, id, actions }: Explained,
  name: string | undefined,
): number {
  if (name === undefined) {
    print(output, { revision, id, actions }, () => drawAll(actions));
    return EXIT.ok;
  }
  const found = actions.find(({ action }) => action === name);
  if (found === undefined) {
    const names = actions.map(({ action }) => action);
    throw new CliError(
      `--action: \`${visible(name)}\` is not in the catalog${visible(suggest(name, names))}`,
      EXIT.refused,
    );
  }
  print(output, { revision, id, ...found }, () => draw(id, found));
  return found.allowed ? EXIT.ok : EXIT.refused;
}

function draw(id: string, one: ActionCapability): string {
  const word = one.allowed ? paint('green', 'allowed') : paint('red', 'denied');
  const where = one.allowed && one.constrained ? ' for objects that match' : '';
  const enforced = one.allowed_enforced ? 'allowed' : 'denied';
  return [
    `${visible(`${one.action} with key ${id}`)}: ${word}${where}, by ${visible(one.rule)}`,
    one.allowed === one.allowed_enforced
      ? paint('dim', 'under full enforcement: the same')
      : paint('yellow', `under full enforcement: ${enforced}`),
  ].join('\n');
}

function drawAll(actions: readonly ActionCapability[]): string {
  return listing(
    ['ACTION', 'READONLY', 'NOW', 'BY', 'UNDER FULL ENFORCEMENT'],
    actions.map((one) => [
      one.action,
      yes(one.readonly),
      `${one.allowed ? 'allowed' : 'denied'}${one.allowed && one.constrained ? ', some objects' : ''}`,
      one.rule,
      one.allowed_enforced ? 'allowed' : 'denied',
    ]),
    'no actions',
  );
}
