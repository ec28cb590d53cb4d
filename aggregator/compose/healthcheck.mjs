// Health of the aggregator in its container: it says that it can do its work.
try {
  const answer = await fetch("http://127.0.0.1:8080/readyz");
  process.exitCode = answer.ok ? 0 : 1;
} catch {
  process.exitCode = 1;
}
