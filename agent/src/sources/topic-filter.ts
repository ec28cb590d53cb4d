/** Root of the topics that the agent itself publishes. */
export const LOCAL_TOPIC_ROOT = "weir";

/** True for a filter that can only match the agent's own topics: weir, weir/… with wildcards in their places. */
export function isLocalFilter(filter: string): boolean {
  if (filter !== LOCAL_TOPIC_ROOT && !filter.startsWith(`${LOCAL_TOPIC_ROOT}/`)) return false;
  const levels = filter.split("/");
  return levels.every((level, index) => {
    if (level === "#") return index === levels.length - 1;
    return level === "+" || !/[+#\0\ufffd]/.test(level);
  });
}

/** MQTT's rule for whether a filter takes a topic; '#' includes its parent level. Both are well-formed. */
export function filterTakes(filter: string, topic: string): boolean {
  const filterLevels = filter.split("/");
  const levels = topic.split("/");
  for (let i = 0; i < filterLevels.length; i++) {
    if (filterLevels[i] === "#") return true;
    if (i >= levels.length || (filterLevels[i] !== "+" && filterLevels[i] !== levels[i])) return false;
  }
  return filterLevels.length === levels.length;
}
