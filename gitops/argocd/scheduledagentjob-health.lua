-- Health of a ScheduledAgentJob for Argo CD (resource.customizations.health.agentjobs.dev_ScheduledAgentJob).
-- A schedule is healthy while it is accepted, whatever its last job did.
local health = { status = "Progressing", message = "not seen by the operator yet" }
local status = obj.status
if status == nil then
  return health
end
for _, condition in ipairs(status.conditions or {}) do
  if condition.type == "Accepted" and condition.status == "False" then
    return { status = "Degraded", message = (condition.reason or "") .. ": " .. (condition.message or "") }
  end
  if condition.type == "Suspended" and condition.status == "True" then
    health.status = "Suspended"
    health.message = condition.message or ""
  end
  if condition.type == "Accepted" and condition.status == "True" and health.status ~= "Suspended" then
    health.status = "Healthy"
    health.message = "next: " .. (status.nextScheduleTime or "none")
  end
end
return health
