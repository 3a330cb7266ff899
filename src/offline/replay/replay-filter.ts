/** One recorded Filter decided again by other facts. Pure. */
import { resourceOf, type DecisionRecord } from '../../audit/record/reader.ts';
import { decide } from '../../engine/decide.ts';
import type { Facts } from '../../engine/decision.ts';
import { filter } from '../../engine/filter.ts';
import type { Request } from '../../engine/model.ts';
import { refusalOfAll } from '../../engine/withheld.ts';
import {
  answerChange,
  objectChange,
  answerOf,
  answerFor,
  type Change,
  type Found,
  type Obstacle,
} from './change.ts';

const NO_RESOURCE = resourceOf();

/**
 * What a Filter would show. Beyond a full page nobody looked, so that nothing is compared there.
 * @param isKnown nothing of its objects is left out or altered
 */
export function judgeFilter(
  record: DecisionRecord,
  who: Omit<Request, 'resource'>,
  facts: Facts,
  isKnown: boolean,
): Found | Obstacle {
  const { reason, policy = [], objects: recorded = {} } = record;
  const { total = 0, items, visible_indexes, offset = 0, limit = 0 } = recorded;
  const invalid = new Set(recorded.invalid_indexes);
  const hadNone = isKnown && recorded.total === 0;
  const objects = hadNone ? [] : items?.map(resourceOf);
  const visible = hadNone ? [] : visible_indexes;
  const whole = (after: string): Found => {
    if (after === reason) return [];
    const answer = answerOf(decide({ ...who, resource: objects?.[0] ?? NO_RESOURCE }, facts));
    const change = answerChange(
      record,
      { reason, policy },
      answer.reason === after ? answer : answerFor(after),
    );
    return [{ ...change, objects: total }];
  };
  if (!isKnown || objects === undefined || visible === undefined) {
    const refused = refusalOfAll(who.action, facts);
    return refused === undefined ? { cause: 'withheld_input', of: 'objects' } : whole(refused);
  }
  const result = filter({ action: who.action, objects, offset, limit: 0, invalid }, facts);
  if (result.reason !== reason) return whole(result.reason);
  const end = limit > 0 && visible.length === limit ? (visible.at(-1) ?? 0) + 1 : total;
  const [before, after] = [new Set(visible), new Set(result.visible)];
  const changed = [
    ...visible.filter((index) => !after.has(index)),
    ...result.visible.filter((index) => index < end && !before.has(index)),
  ];
  return merged(
    changed.map((index) => {
      const resource = objects[index] ?? NO_RESOURCE;
      const answer = answerOf(decide({ ...who, resource }, facts));
      return objectChange(record, before.has(index), answer);
    }),
  );
}

/** Like changes of one Filter as one, with the number of their objects. */
function merged(changes: readonly Change[]): Found {
  return [...Map.groupBy(changes, (change) => JSON.stringify(change)).values()].flatMap((alike) => {
    const [first] = alike;
    return first === undefined ? [] : [{ ...first, objects: alike.length }];
  });
}
