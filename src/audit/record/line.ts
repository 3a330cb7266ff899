/** What readers take out of a line. A line may be anything: nothing of it is believed before it was looked at. */

/** A JSON object that has what every record has; the other fields are whatever the line says. */
export interface AuditRecord {
  readonly v: number;
  readonly type: string;
  /** ISO 8601. */
  readonly time: string;
  readonly instance: string;
  readonly seq: number;
  readonly [field: string]: unknown;
}

/** `undefined`: the text is no record. */
export function parseRecord(text: string): AuditRecord | undefined {
  const value = parseJson(text);
  return isRecord(value) ? value : undefined;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isRecord(value: unknown): value is AuditRecord {
  return (
    isObject(value) &&
    typeof value['v'] === 'number' &&
    typeof value['type'] === 'string' &&
    typeof value['time'] === 'string' &&
    typeof value['instance'] === 'string' &&
    Number.isSafeInteger(value['seq']) &&
    Number(value['seq']) > 0
  );
}

/** A JSON object, neither null nor a list. */
export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
