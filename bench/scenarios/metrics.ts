/** What counting costs: Checks of a service that counts against those of one that does not, in turns. */
import type { FactsRoom } from '../../src/facts/facts.ts';
import type { Metrics } from '../../src/telemetry/metrics.ts';
import type { CheckCall, Service } from '../../src/service/calls.ts';
import { decodeCheck } from '../../src/transport/codec/check.ts';
import { compare, type Effort, type Work } from '../measure.ts';
import { checks } from '../messages.ts';
import { assertAnswer, time, type Row, type RunOptions, type Scenario } from '../scenario.ts';
import { CODEC_LIMITS, metricsOf, service, withFacts } from './pipeline.ts';

/** Metrics may cost so much of the throughput of Checks in the process, without audit beside them. */
const TARGET = 0.03;

export const metricsCost: Scenario = {
  name: 'metrics',
  run: ({ effort }: RunOptions) =>
    withFacts(async (facts) => ({ name: 'metrics', rows: await rows(facts, effort) })),
};

/** Takes what the real one takes, and keeps nothing. */
function noMetrics(): Metrics {
  const nothing = (): void => {};
  return {
    decision: nothing,
    credential: nothing,
    keysRead: nothing,
    notAudited: nothing,
    shadow: nothing,
    filtered: nothing,
    historyLost: nothing,
    resync: nothing,
    store: nothing,
    feed: nothing,
    reload: nothing,
    operation: nothing,
    unauthenticated: nothing,
    certificate: nothing,
    overloaded: nothing,
    shed: nothing,
    render: () => Promise.resolve(''),
    snapshot: () => Promise.resolve([]),
    contentType: '',
  };
}

async function rows(facts: FactsRoom, effort: Effort): Promise<Row[]> {
  const metrics = metricsOf(facts);
  const counting = service(facts, undefined, metrics);
  const silent = service(facts, undefined, noMetrics());
  const other = service(facts, undefined, noMetrics());
  const calls = checks().map((bytes) => decodeCheck(bytes, CODEC_LIMITS));
  for (const call of calls)
    for (const one of [counting, silent, other]) {
      const answer = await one.check(call, 'check', 1_000);
      assertAnswer('Check', 'failure' in answer || answer.decision.reason, 'ALLOWED');
    }
  const counted = /^postern_decisions_total\{api="check",allowed="true".*\} (\d+)$/m;
  assertAnswer('counted', counted.exec(await metrics.render())?.[1], String(calls.length));

  const cost = compare(inTurn(counting, calls), inTurn(silent, calls), effort);
  const control = compare(inTurn(other, calls), inTurn(silent, calls), effort);
  const share = (ratio: number): string => `${((1 - 1 / ratio) * 100).toFixed(1)} %`;
  return [
    {
      scenario: 'Check: service, audit off',
      cells: {
        median: time(cost.medianNs),
        'without metrics': time(cost.floor.medianNs),
        'cost of throughput': share(cost.ratio),
      },
      target: {
        text: `≤ ${TARGET * 100} % of throughput`,
        met: 1 - 1 / cost.ratio <= TARGET,
      },
    },
    {
      scenario: 'the same without metrics twice: what a difference of nothing looks like',
      cells: {
        median: time(control.medianNs),
        'without metrics': time(control.floor.medianNs),
        'cost of throughput': share(control.ratio),
      },
    },
  ];
}

function inTurn(of: Service, calls: readonly CheckCall[]): Work {
  let at = 0;
  return () => {
    at = at + 1 === calls.length ? 0 : at + 1;
    const call = calls[at];
    return call !== undefined && of.check(call, 'check', 0);
  };
}
