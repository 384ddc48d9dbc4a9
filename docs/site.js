// What screen readers and keyboards want of the theme: a name for the search, and tables that can be scrolled without a mouse.
document.querySelector("[data-md-component=search]")?.setAttribute("aria-label", "Search");
new MutationObserver(() => {
  for (const table of document.querySelectorAll(".md-typeset__scrollwrap:not([tabindex])")) table.tabIndex = 0;
}).observe(document.body, { childList: true, subtree: true });
