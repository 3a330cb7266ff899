/** Tree paths: `""` is the root, else labels joined by `.` (PATH-1, PATH-2). */

const MAX_LABELS = 64;

const PATH = /^[A-Za-z0-9_-]{1,255}(?:\.[A-Za-z0-9_-]{1,255}){0,63}$/;
const LABEL = /^[A-Za-z0-9_-]*$/;

/** The problem of a path, or `undefined` if it is valid (PATH-1). */
export function pathProblem(path: string): string | undefined {
  if (path === '' || PATH.test(path)) return undefined;
  const labels = path.split('.');
  if (labels.some((label) => label === ''))
    return 'has an empty label: remove the extra `.`, or use "" for the root';
  if (labels.some((label) => !LABEL.test(label)))
    return 'has a label with other characters than A-Z a-z 0-9 _ -: labels are joined by `.`, wildcards do not exist';
  if (labels.length > MAX_LABELS)
    return `has ${labels.length} labels: at most ${MAX_LABELS} are allowed`;
  return 'has a label longer than 255 characters: shorten it';
}

/** Whether `upper` covers `lower`: the root, the same path, or an ancestor by whole labels (PATH-2). */
export function covers(upper: string, lower: string): boolean {
  if (upper === '' || upper === lower) return true;
  return lower.startsWith(upper) && lower.charCodeAt(upper.length) === 0x2e;
}
