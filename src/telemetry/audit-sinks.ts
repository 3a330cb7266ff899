/** The sinks of the audit log, as they count themselves. */
import { DESTINATION_COUNTS, type Sink } from '../audit/sinks/queue.ts';
import { counter, gauge, type Instrument } from './instruments.ts';

/** What sinks count besides what they keep and lose. */
const HELP: Readonly<Record<(typeof DESTINATION_COUNTS)[number], string>> = {
  cut: 'Audit records that were too large for a sink, which got a stub of them.',
  rotation_failures: 'Times that the file of a sink could not be rotated.',
  trimmed: 'Audit records that a stream removed because it was full.',
};

export function auditInstruments(sinks: readonly Sink[]): readonly Instrument[] {
  const each = (value: (sink: Sink) => number): Instrument['values'] => {
    return () => sinks.map((sink) => ({ labels: { sink: sink.name }, value: value(sink) }));
  };
  return [
    counter('postern_audit_records_total', 'Audit records by what became of them.', () =>
      sinks.flatMap((sink) => {
        const { written, dropped, spooled } = sink.stats();
        return Object.entries({ written, dropped, spooled }).map(([result, value]) => ({
          labels: { sink: sink.name, result },
          value,
        }));
      }),
    ),
    ...DESTINATION_COUNTS.map((count) =>
      counter(
        `postern_audit_${count}_total`,
        HELP[count],
        each((sink) => sink.stats().counts[count]),
      ),
    ),
    gauge(
      'postern_audit_queue_length',
      'Audit records that wait to be kept.',
      each((sink) => sink.stats().queued),
    ),
    gauge(
      'postern_audit_holding',
      'Whether a sink holds answers back.',
      each((sink) => (sink.isOpen() ? 0 : 1)),
    ),
  ];
}
