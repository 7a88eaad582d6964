-- Health of an AgentJob for Argo CD (resource.customizations.health.agentjobs.dev_AgentJob).
-- A job that waits or runs is Progressing; a suspended one is Suspended.
local health = { status = "Progressing", message = "not seen by the operator yet" }
local status = obj.status
if status == nil then
  return health
end
-- the operator has not seen the last change of the spec
if status.observedGeneration ~= nil and obj.metadata.generation ~= nil
    and status.observedGeneration < obj.metadata.generation then
  health.message = "a change is not seen by the operator yet"
  return health
end
health.message = status.message or status.reason or status.state or ""
for _, condition in ipairs(status.conditions or {}) do
  if condition.type == "Complete" and condition.status == "True" then
    health.status = "Healthy"
    return health
  end
  if condition.type == "Failed" and condition.status == "True" then
    health.status = "Degraded"
    health.message = (condition.reason or "Failed") .. ": " .. (condition.message or "")
    return health
  end
  if condition.type == "Finished" and condition.status == "True" then
    health.status = "Degraded" -- another end: Rejected
    health.message = (condition.reason or "Finished") .. ": " .. (condition.message or "")
    return health
  end
end
-- a job that asks a person is Suspended, too: it does not go on by itself
if status.state == "Suspended" or status.state == "InputRequired" then
  health.status = "Suspended"
end
return health
