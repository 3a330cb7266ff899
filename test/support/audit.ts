/** An audit log whose records a test reads. */
import { openLog, type AuditLog } from '../../src/audit/log.ts';
import type { Sink } from '../../src/audit/sinks/queue.ts';

/** Lines are there as soon as they are written. */
export function collectingLog(lines: string[]): AuditLog {
  return openLog('test', [collectingSink(lines)], 1);
}

export function collectingSink(lines: string[]): Sink {
  return {
    name: 'test',
    mode: 'drop',
    isOpen: () => true,
    write: (line) => void lines.push(line),
    onOpen: () => {},
    settled: () => undefined,
    stats: () => ({
      written: lines.length,
      dropped: 0,
      queued: 0,
      spooled: 0,
      counts: { cut: 0, rotation_failures: 0, trimmed: 0 },
    }),
    close: () => Promise.resolve(0),
  };
}
