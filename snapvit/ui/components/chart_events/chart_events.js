// One for each chart; what watches them all, chart_watch.js, is sent once.

export default function (component) {
  const charts = (window.snapvitCharts ??= { waiting: [] });
  if (charts.watch) charts.watch(component);
  else charts.waiting.push(component);
  const root = component.parentElement.querySelector(".events");
  // Streamlit also calls this for a render that a newer one overtook, while the component is still on the page.
  return () => root.isConnected || charts.leave?.(root);
}
