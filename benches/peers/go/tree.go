package main

import (
	"strconv"
	"strings"
)

// insert puts a value where its dotted path says. Repeated values become an array; where a path has both values and
// members, its values are those of the member "".
func insert(members map[string]any, path, value string) {
	for {
		segment, rest, deeper := strings.Cut(path, ".")
		switch present := members[segment].(type) {
		case map[string]any:
			members, path = present, rest
			continue
		case nil:
			if !deeper {
				members[segment] = value
				return
			}
		case []any:
			if !deeper {
				members[segment] = append(present, value)
				return
			}
		default:
			if !deeper {
				members[segment] = []any{present, value}
				return
			}
		}
		inner := map[string]any{}
		if present, found := members[segment]; found {
			inner[""] = present
		}
		members[segment] = inner
		members, path = inner, rest
	}
}

// settleBelow turns objects whose names are exactly 0 to n-1 into arrays, everywhere but at the top.
func settleBelow(members map[string]any) {
	for name, child := range members {
		if child, found := child.(map[string]any); found {
			members[name] = settle(child)
		}
	}
}

func settle(members map[string]any) any {
	settleBelow(members)
	var list []any
	for index := range len(members) {
		child, found := members[strconv.Itoa(index)]
		if !found {
			return members
		}
		list = append(list, child)
	}
	return list
}
