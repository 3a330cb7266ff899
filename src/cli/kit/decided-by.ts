/** Of an explanation, the facts that decided: the grant, role, list or rule. */
import { detailOf } from '../../engine/detail.ts';
import { MODELS } from '../../engine/model.ts';
import type { ExplainResponse } from './client.ts';

type Fact = ExplainResponse['layers'][number]['facts'][number];

/**
 * The first of each layer that had the last word: where a key and a subject ask together, of both. Empty: no stored fact
 * decided, as where none was found.
 */
export function decidedBy({ check, layers }: ExplainResponse): readonly Fact[] {
  const factsOf = (name: string): readonly Fact[] =>
    layers.find((layer) => layer.name === name)?.facts ?? [];
  const first = (name: string, effect: string): readonly Fact[] => {
    const facts = factsOf(name);
    const found =
      facts.find(({ kind, text }) => kind === 'rule' && text.includes(` (${effect}) `)) ??
      facts.find(({ kind }) => kind === 'base_role');
    return found === undefined ? [] : [found];
  };
  if (check.reason === 'REASON_ACTION_DENIED') return first('abac_action', 'deny');
  if (check.reason === 'REASON_OBJECT_HIDDEN') return first('abac_object', 'deny');
  if (!check.allowed) return [];
  // The sentence of an answer is that of the model which gave it.
  const model = MODELS.find((by) => detailOf({ reason: 'ALLOWED', by }) === check.detail);
  const evidence = factsOf(model ?? 'access').slice(0, 1);
  const rule = first('abac_object', 'allow');
  // Beside evidence, a key whose rules say nothing has decided nothing.
  return evidence.length > 0 && rule[0]?.kind === 'base_role' ? evidence : [...evidence, ...rule];
}
